import type { GeneratedText } from "../generate/generate-texts.js";
import { MiloraError } from "../errors.js";
import { roles } from "../spec/roles.js";
import type { Figure } from "./figure.js";
import { heatMapFigure } from "./heat-map-figure.js";

/** Longer prompts are cut in the title. */
const titleLength = 60;

/** The usual seven, active or not, so that two prompts' figures are alike; then whatever else is there. */
const expertsOf = (layers: readonly (readonly string[])[]): readonly string[] => [
  ...new Set<string>([...roles, ...layers.flat()]),
];

/**
 * The gates of a prompt's experts, layer by layer; an expert that is not active is empty.
 * @param text What `generate` gave with `explain: true` and a routed adapter.
 * @throws MiloraError `adapter/unsupported` where it holds no routing.
 */
export const routingFigure = ({ prompt, tenant, routing }: GeneratedText): Figure => {
  if (routing === undefined) {
    throw new MiloraError("adapter/unsupported", "The text has no routing.", {
      found: tenant === null ? "a text of the base model" : `a text of ${tenant}`,
      allowed: "a text of a routed adapter that was generated with explain: true",
    });
  }
  const columns = expertsOf(routing.experts);
  const line = prompt.replaceAll(/\s+/g, " ").trim();
  return heatMapFigure({
    title: line.length > titleLength ? `${line.slice(0, titleLength - 1)}…` : line,
    rowTitle: "layer",
    columnTitle: "expert",
    rows: routing.experts.map((_, layer) => String(layer)),
    columns,
    values: routing.experts.map((experts, layer) =>
      columns.map((name) => {
        const place = experts.indexOf(name);
        return place === -1 ? 0 : (routing.gates[layer]?.[place] ?? 1);
      }),
    ),
  });
};
