import { groupedBy } from "../util/grouped.js";
import { counted } from "../util/text.js";
import { numberCell, numberColumn, percent, textCell, textColumn } from "./cells.js";
import { expertOrder, heatMapFigure, panelParts } from "./figures/heat-map-figure.js";
import type { ReportFigure, ReportSection, ReportTable } from "./report-model.js";
import type { RoutingInput } from "./sources/inputs.js";

/** More panels than these are no longer told apart by eye. */
const maxPanels = 12;

/** A prompt's characters in a panel's heading. */
const maxName = 40;

const shortName = (name: string): string => (name.length > maxName ? `${name.slice(0, maxName - 1)}…` : name);

const expertsOf = (routing: readonly RoutingInput[]): readonly string[] =>
  expertOrder(routing.flatMap(({ layers }) => layers.flatMap((layer) => Object.keys(layer))));

/** Where a prompt's own words begin: prompts of a task may share a long preamble. */
const sharedStart = (names: readonly string[]): number => {
  const [first = ""] = names;
  const differs = (place: number): boolean => names.some((name) => name[place] !== first[place]);
  const length = Array.from(first).findIndex((_, place) => differs(place));
  const words = first.slice(0, Math.max(length, 0)).lastIndexOf(" ") + 1;
  return words > maxName / 2 ? words : 0;
};

/** Prompts under names that tell them apart, as many of each source as there is room for. */
const namedPrompts = (prompts: readonly RoutingInput[]): readonly RoutingInput[] => {
  const sources = [...groupedBy(prompts, ({ source }) => source).values()];
  const each = Math.max(1, Math.floor(maxPanels / Math.max(1, sources.length)));
  return sources
    .flatMap((group) => {
      const start = sharedStart(group.map(({ name }) => name));
      return group.slice(0, each).map((prompt, index) => {
        const name = shortName(`${index + 1}. ${start > 0 ? "…" : ""}${prompt.name.slice(start)}`);
        return { ...prompt, name };
      });
    })
    .slice(0, maxPanels);
};

const leftOut = (all: readonly RoutingInput[], shown: readonly RoutingInput[], what: string): string =>
  all.length > shown.length ? ` ${counted(all.length - shown.length, what)} more in the files.` : "";

/** Layer × expert, a panel a task or prompt. */
const routingFigure = (title: string, caption: string, routing: readonly RoutingInput[]): ReportFigure | undefined => {
  const experts = expertsOf(routing);
  const isShare = routing[0]?.measure === "share of prompts";
  return heatMapFigure({
    title,
    caption,
    rowTitle: "layer",
    valueTitle: isShare ? "share of the prompts" : "gate",
    isShare,
    zeroIsEmpty: !isShare,
    cells: routing.flatMap(({ source, name, layers }) =>
      layers.flatMap((layer, index) =>
        experts.map((column) => ({
          panel: panelParts(isShare ? [name, source] : [source, name]),
          row: String(index),
          column,
          value: layer[column] ?? 0,
        })),
      ),
    ),
  });
};

/** Share of the layers in which each expert is active, mean over a task's prompts (the paper's Figure 2). */
const shareTable = (tasks: readonly RoutingInput[]): ReportTable => {
  const experts = expertsOf(tasks);
  const hasSources = tasks.some(({ source }) => source !== null);
  return {
    title: "Share of the layers in which each expert is active",
    columns: [
      textColumn("task"),
      ...(hasSources ? [textColumn("run")] : []),
      ...experts.map((expert) => numberColumn(expert)),
    ],
    rows: tasks.map(({ source, name, layers }) => [
      textCell(name),
      ...(hasSources ? [textCell(source)] : []),
      ...experts.map((expert) =>
        numberCell(layers.reduce((total, layer) => total + (layer[expert] ?? 0), 0) / layers.length, percent),
      ),
    ]),
    before: [],
    notes: [
      "Mean over the task's prompts; with k active experts a layer's shares add up to k. In the paper's Figure 2 no expert is above 30 %.",
    ],
    context: {},
  };
};

/** Where prompts were routed: by task, and prompt by prompt. */
export const routingSection = (routing: readonly RoutingInput[]): ReportSection => {
  const tasks = routing.filter(({ measure }) => measure === "share of prompts");
  const prompts = routing.filter(({ measure }) => measure === "gate");
  const [shownTasks, shownPrompts] = [tasks.slice(0, maxPanels), namedPrompts(prompts)];
  return {
    title: "Routing",
    text: [],
    tables: tasks.length === 0 ? [] : [shareTable(tasks)],
    figures: [
      routingFigure(
        "Active experts by layer and task",
        `Share of a task's prompts for which a layer's expert is active.${leftOut(tasks, shownTasks, "task")}`,
        shownTasks,
      ),
      routingFigure(
        "Active experts by layer and prompt",
        `Gate of each active expert; empty where it is not active.${leftOut(prompts, shownPrompts, "prompt")}`,
        shownPrompts,
      ),
    ].filter((figure) => figure !== undefined),
  };
};
