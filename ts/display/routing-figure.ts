import { MiloraError } from "../errors.js";
import type { Routing } from "../generate/asked-text.js";
import type { GeneratedText } from "../generate/generate-texts.js";
import { heatMapFigure } from "../report/figures/heat-map-figure.js";
import { gatesByExpert } from "../runs/routing-record.js";
import { roles } from "../spec/roles.js";
import { oneLine } from "../util/text.js";
import { type Figure, notebookFigure } from "./figure.js";
import { shortNumber } from "./table.js";

/** A prompt's layers, each the gates of its active experts. */
interface Panel {
  readonly name: string;
  readonly layers: readonly Readonly<Record<string, number>>[];
}

const routingOf = ({ tenant, routing }: GeneratedText): Routing => {
  if (routing !== undefined) return routing;
  throw new MiloraError("adapter/unsupported", "The text has no routing.", {
    found: tenant === null ? "a text of the base model" : `a text of ${tenant}`,
    allowed: "a text of a routed adapter that was generated with explain: true",
  });
};

const panelOf = (name: string, text: GeneratedText): Panel => ({ name, layers: gatesByExpert(routingOf(text)) });

const isText = (value: GeneratedText | Readonly<Record<string, GeneratedText>>): value is GeneratedText =>
  typeof value["prompt"] === "string";

const layerText = (layer: Panel["layers"][number], index: number): string => {
  const active = Object.entries(layer).map(([expert, gate]) => `${expert} ${shortNumber(gate)}`);
  return `  layer ${index}: ${active.join(", ") || "-"}`;
};

/**
 * The gates of the active experts, layer by layer; an expert that is not active is empty.
 * @param texts What `generate` gave with `explain: true` and a routed adapter: one text under its prompt, or several by
 * names, a panel each on one scale.
 * @throws MiloraError `adapter/unsupported` where one holds no routing.
 */
export const routingFigure = (texts: GeneratedText | Readonly<Record<string, GeneratedText>>): Figure => {
  const panels = isText(texts)
    ? [panelOf(oneLine(texts.prompt), texts)]
    : Object.entries(texts).map(([name, text]) => panelOf(name, text));
  // The usual seven, active or not, so that two prompts' figures are alike; then whatever else there is.
  const experts = new Set<string>([...roles, ...panels.flatMap(({ layers }) => layers.flatMap(Object.keys))]);
  const title = isText(texts) ? (panels[0]?.name ?? "") : "Gates of the active experts";
  const figure = heatMapFigure({
    title,
    caption: "",
    rowTitle: "layer",
    valueTitle: "gate",
    isShare: false,
    zeroIsEmpty: true,
    cells: panels.flatMap(({ name, layers }) =>
      layers.flatMap((layer, index) =>
        [...experts].map((column) => ({ panel: name, row: String(index), column, value: layer[column] ?? 0 })),
      ),
    ),
  });
  const text = panels.map(({ name, layers }) => [name, ...layers.map(layerText)].join("\n")).join("\n");
  return notebookFigure({ title, figure, text });
};
