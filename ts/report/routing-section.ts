import { counted } from "../util/text.js";
import { numberCell, numberColumn, percent, textCell, textColumn } from "./cells.js";
import { expertOrder, heatMapFigure } from "./figures/heat-map-figure.js";
import type { ReportFigure, ReportSection, ReportTable } from "./report-model.js";
import type { RoutingInput } from "./sources/inputs.js";

/** More prompts than these are no longer told apart by eye. */
const maxPrompts = 8;

const shortName = (name: string): string => (name.length > 44 ? `${name.slice(0, 43)}…` : name);

/** Layer × expert, a panel a task or prompt. */
export const routingFigure = (
  title: string,
  caption: string,
  routing: readonly RoutingInput[],
): ReportFigure | undefined => {
  const experts = expertOrder(routing.flatMap(({ layers }) => layers.flatMap((layer) => Object.keys(layer))));
  const isShare = routing[0]?.measure === "share of prompts";
  return heatMapFigure({
    title,
    caption,
    rowTitle: "layer",
    valueTitle: isShare ? "share of the prompts" : "gate",
    isShare,
    cells: routing.flatMap(({ name, layers }) =>
      layers.flatMap((layer, index) =>
        experts.map((column) => ({
          panel: shortName(name),
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
  const experts = expertOrder(tasks.flatMap(({ layers }) => layers.flatMap((layer) => Object.keys(layer))));
  return {
    title: "Share of the layers in which each expert is active",
    columns: [textColumn("task"), ...experts.map((expert) => numberColumn(expert))],
    rows: tasks.map(({ name, layers }) => [
      textCell(name),
      ...experts.map((expert) =>
        numberCell(layers.reduce((total, layer) => total + (layer[expert] ?? 0), 0) / layers.length, percent),
      ),
    ]),
    before: [],
    notes: ["Mean over the task's prompts."],
    context: {},
  };
};

/** Where prompts were routed: by task, and prompt by prompt. */
export const routingSection = (routing: readonly RoutingInput[]): ReportSection => {
  const tasks = routing.filter(({ measure }) => measure === "share of prompts");
  const prompts = routing.filter(({ measure }) => measure === "gate");
  const left = prompts.length - maxPrompts;
  const more = left > 0 ? ` The first ${maxPrompts} prompts; ${counted(left, "more one", "more")} in the file.` : "";
  return {
    title: "Routing",
    text: [],
    tables: tasks.length === 0 ? [] : [shareTable(tasks)],
    figures: [
      routingFigure(
        "Active experts by layer and task",
        "Share of a task's prompts for which a layer's expert is active.",
        tasks,
      ),
      routingFigure(
        "Active experts by layer and prompt",
        `Gate of each active expert; 0 where it is not active.${more}`,
        prompts.slice(0, maxPrompts),
      ),
    ].filter((figure) => figure !== undefined),
  };
};
