import type { MethodKind } from "../spec/method.js";

/** A row of a sweep: a part of a run's spec under a name. */
export type Variant = {
  name: string;
  method: Record<string, string | number>;
  train: Record<string, number>;
};

/** The methods of Table 1, the paper's own first: the rows that the others are compared with. */
export const allMethods = [
  "milora",
  "midora",
  "lora",
  "dora",
  "adalora",
  "moelora",
  "parallel-adapter",
  "learned-adapter",
  "p-tuning-v2",
  "iapt",
  "bitfit",
  "ia3",
  "ssp",
] as const satisfies readonly MethodKind[];

/** Of the preset `small` on a choice task, from one try each; no search. */
const smallRates: Readonly<Record<MethodKind, number>> = {
  milora: 5e-4,
  midora: 5e-4,
  lora: 5e-4,
  dora: 5e-4,
  adalora: 2e-3,
  moelora: 5e-4,
  "parallel-adapter": 1e-3,
  "learned-adapter": 1e-3,
  "p-tuning-v2": 3e-3,
  iapt: 5e-4,
  bitfit: 3e-3,
  ia3: 3e-3,
  ssp: 1e-3,
};

/** The learning rate of a method at small scale; at the paper's it is the default of all. */
const rateOf = (kind: MethodKind, scale: "paper" | "small"): Variant["train"] =>
  scale === "small" ? { learningRate: smallRates[kind] } : {};

/** A method with the paper's settings (section 4.2), or with the small budget that all share. */
export const methodVariant = (kind: MethodKind, scale: "paper" | "small"): Variant => ({
  name: kind,
  method: { kind, preset: scale },
  train: rateOf(kind, scale),
});

const ablations = [
  ["milora-1", "average pooling"],
  ["milora-2", "last token"],
  ["milora-3", "GeLU"],
  ["milora-4", "ReLU, then GeLU"],
  ["milora-5", "GeLU, then ReLU"],
] as const;

/** MiLoRA and its ablations of pooler and activation (Table 5). */
export const ablationVariants = (scale: "paper" | "small"): Variant[] => [
  methodVariant("milora", scale),
  ...ablations.map(([preset, what]) => ({
    name: `${preset} (${what})`,
    method: { kind: "milora", preset, ...(scale === "small" ? { rank: 8 } : {}) },
    train: rateOf("milora", scale),
  })),
];
