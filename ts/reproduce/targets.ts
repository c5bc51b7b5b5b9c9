import type { MethodKind } from "../spec/method.js";
import { commonDifferences, smallDifferences } from "./differences.js";
import {
  groupOf,
  seedsOf,
  sharedSpec,
  type GroupParts,
  type Scale,
  type Setting,
  type SmallSize,
  type SweepInput,
} from "./groups.js";
import { ablationVariants, allMethods, methodVariant } from "./methods.js";
import {
  figure2,
  figure3,
  figure4,
  figure5,
  table1,
  table2,
  table3,
  table5,
  table7,
  type PaperTable,
} from "./paper-figures.js";

/** A column that is the mean of a row's results over some groups of the sweep. */
export interface MeanColumn {
  readonly column: string;
  readonly groups: readonly string[];
}

/** One table or figure of the paper as a sweep. */
export interface Target {
  readonly title: string;
  readonly sweep: (setting: Setting) => SweepInput;
  /** The paper's figures to stand beside ours; none where it prints no numbers. */
  readonly paper: (model: string) => readonly PaperTable[];
  readonly means: (scale: Scale) => readonly MeanColumn[];
  /** Tasks whose test prompts are routed by a group's adapters, by group. */
  readonly routing: (scale: Scale) => Readonly<Record<string, string>>;
  /** What is not as in the paper, a sentence each. */
  readonly differences: (scale: Scale, small: SmallSize) => readonly string[];
}

interface TargetParts {
  readonly title: string;
  readonly groups: (scale: Scale) => readonly GroupParts[];
  readonly axes: (scale: Scale) => NonNullable<SweepInput["axes"]>;
  readonly seeds?: ((setting: Setting) => number[]) | undefined;
  readonly paper: Target["paper"];
  readonly means?: Target["means"] | undefined;
  readonly routing?: Target["routing"] | undefined;
  readonly remarks?: readonly string[] | undefined;
}

const target = (name: string, parts: TargetParts): Target => ({
  title: parts.title,
  sweep: (setting) => ({
    name: `${name}-${setting.scale}`,
    description: `${parts.title} (MiLoRA, arXiv 2410.18035), ${setting.scale} scale.`,
    model: setting.model,
    spec: sharedSpec(setting),
    axes: {
      ...parts.axes(setting.scale),
      "train.seed": (parts.seeds ?? seedsOf)(setting),
    },
    groups: parts.groups(setting.scale).map((group) => groupOf(setting, group)),
  }),
  paper: parts.paper,
  means: parts.means ?? (() => []),
  routing: parts.routing ?? (() => ({})),
  differences: (scale, small) => [
    ...(parts.remarks ?? []),
    ...commonDifferences,
    ...(scale === "small" ? smallDifferences(small) : []),
  ],
});

const single = (task: string): GroupParts => ({ name: task, train: [task], evaluate: [task] });

const methodAxis = (kinds: readonly MethodKind[]) => (scale: Scale) => ({
  variant: kinds.map((kind) => methodVariant(kind, scale)),
});

/** MiLoRA with one field of the method moving; the paper's own value first, which the others are compared with. */
const miloraAxis = (field: string, values: Readonly<Record<Scale, readonly number[]>>) => (scale: Scale) => {
  const { method, train } = methodVariant("milora", scale);
  return {
    variant: values[scale].map((value) => ({
      name: `${field}=${value}`,
      method: { ...method, [field]: value },
      train,
    })),
  };
};

const table1Tasks = ["arc-easy", "arc-challenge", "boolq", "openbookqa", "piqa", "aqua", "gsm8k"];
const mixTasks = ["arc-easy", "arc-challenge", "boolq", "openbookqa", "piqa"];
const smallMixTasks = ["arc-easy", "arc-challenge", "openbookqa"];
const mixOf = (scale: Scale): readonly string[] => (scale === "paper" ? mixTasks : smallMixTasks);
const mixGroup = "mix";

const oneIfSmall = (setting: Setting): number[] => (setting.scale === "paper" ? seedsOf(setting) : [0]);

const smallTask = "arc-easy";

/** Where Tables 5 and 7 score: two single tasks, and MMLU of the model that was trained on Alpaca. */
const threeGroups = (scale: Scale): readonly GroupParts[] =>
  scale === "small"
    ? [single(smallTask)]
    : [single("boolq"), single("piqa"), { name: "alpaca", train: ["alpaca"], evaluate: ["mmlu"] }];

const curveGroups = (scale: Scale): readonly GroupParts[] =>
  scale === "small" ? [single(smallTask)] : [single("boolq"), single("piqa")];

const unsaidTasks =
  "The paper's text does not name the tasks of this curve's numbers; BoolQ and PIQA are those of Tables 5 and 7.";

const routed = (scale: Scale): Readonly<Record<string, string>> =>
  scale === "paper"
    ? { alpaca: "mt-bench", boolq: "boolq", piqa: "piqa" }
    : { alpaca: "mt-bench", boolq: "boolq", "arc-easy": "arc-easy" };

/** Every target but Table 4, which is a bench, by name. */
export const targets: Readonly<Record<string, Target>> = {
  "table-1": target("table-1", {
    title: "Table 1: single tasks over thirteen methods",
    groups: (scale) => (scale === "paper" ? table1Tasks : [smallTask]).map(single),
    axes: methodAxis(allMethods),
    paper: () => [table1],
    means: (scale) => (scale === "paper" ? [{ column: "mean", groups: table1Tasks }] : []),
  }),
  "table-2": target("table-2", {
    title: "Table 2: one model on a mix of tasks, each scored apart",
    groups: (scale) => [...mixOf(scale).map(single), { name: mixGroup, train: mixOf(scale), evaluate: mixOf(scale) }],
    axes: methodAxis(["milora", "lora", "moelora", "dora"]),
    paper: () => [table2],
    means: (scale) => [
      { column: "mean, single", groups: mixOf(scale) },
      { column: "mean, mix", groups: [mixGroup] },
    ],
    seeds: oneIfSmall,
    remarks: ["The mix takes every row of each task; the paper does not say how it mixes."],
  }),
  "table-3": target("table-3", {
    title: "Table 3: instruction tuning on Alpaca",
    groups: (scale) => [
      {
        name: "alpaca",
        train: ["alpaca"],
        evaluate: scale === "paper" ? ["mt-bench", "mmlu", "bbh"] : ["mt-bench", "mmlu"],
      },
    ],
    axes: methodAxis(["milora", "moelora"]),
    seeds: oneIfSmall,
    paper: () => [table3],
    remarks: [
      "MT-Bench is scored by a judge of your own, whose endpoint `milora judge` asks; GPT-4 of the paper's time is not to be had.",
      "MMLU is five-shot and generated, BBH three-shot with a chain of thought; the paper names neither.",
    ],
  }),
  "table-5": target("table-5", {
    title: "Table 5: ablations of pooler and activation",
    groups: threeGroups,
    axes: (scale) => ({ variant: ablationVariants(scale) }),
    paper: () => [table5],
  }),
  "table-7": target("table-7", {
    title: "Table 7: other backbones",
    groups: threeGroups,
    axes: methodAxis(["milora", "moelora"]),
    paper: (model) => {
      const { "gemma-2b": gemma, "llama-2-13b": llama } = table7;
      return /gemma/i.test(model) ? [gemma] : /13b/i.test(model) ? [llama] : [llama, gemma];
    },
    remarks: ["The backbone is the one that --model names."],
  }),
  "figure-2": target("figure-2", {
    title: "Figure 2: share of the layers in which each expert is active, by task",
    groups: (scale) => Object.keys(routed(scale)).map((name) => ({ name, train: [name], evaluate: [] })),
    axes: methodAxis(["milora"]),
    seeds: () => [0],
    paper: () => [],
    routing: routed,
    remarks: [`${figure2}.`, "One seed. MT-Bench's prompts are routed by the model that was trained on Alpaca."],
  }),
  "figure-3": target("figure-3", {
    title: "Figure 3: accuracy against k, the active experts of a layer",
    groups: curveGroups,
    axes: miloraAxis("topK", { paper: [3, 1, 2, 4, 5, 6, 7], small: [3, 1, 2, 5, 7] }),
    paper: () => [figure3],
    remarks: [unsaidTasks],
  }),
  "figure-4": target("figure-4", {
    title: "Figure 4: accuracy against λ_lb, the weight of the balance loss",
    groups: curveGroups,
    axes: miloraAxis("balance", { paper: [0.01, 0, 0.001, 0.1, 1], small: [0.01, 0, 0.001, 0.1, 1] }),
    paper: () => [figure4],
    remarks: [unsaidTasks],
  }),
  "figure-5": target("figure-5", {
    title: "Figure 5: accuracy against the rank r",
    groups: curveGroups,
    axes: miloraAxis("rank", { paper: [32, 8, 16, 64, 128, 256], small: [8, 2, 4, 16, 32] }),
    paper: () => [figure5],
    remarks: [unsaidTasks],
  }),
};
