/**
 * What the paper prints: "MiLoRA: Efficient Mixture of Low-Rank Adaptation for Large Language Models Fine-tuning",
 * Zhang et al., Findings of EMNLP 2024, arXiv 2410.18035. Accuracies are percentages. This file holds figures of the
 * paper alone; what is measured never goes in here.
 */

/** A table of the paper: rows by the names of our sweeps' rows, columns by the names of our tasks. */
export interface PaperTable {
  /** What it is and on which model. */
  readonly source: string;
  readonly columns: readonly string[];
  readonly rows: Readonly<Record<string, readonly (number | null)[]>>;
  /** As printed: parameters that train and that are active. */
  readonly parameters?: Readonly<Record<string, readonly [trainable: string, activated: string]>> | undefined;
}

const llama = "Llama-2 7B";

/** Table 1: single tasks, median of five seeds. */
export const table1: PaperTable = {
  source: `Table 1 (${llama}, median of 5 seeds)`,
  columns: ["arc-easy", "arc-challenge", "boolq", "openbookqa", "piqa", "aqua", "gsm8k", "mean"],
  rows: {
    "parallel-adapter": [67.1, 54.2, 65.2, 76.3, 69.8, 15.6, 26.4, 53.5],
    "learned-adapter": [69.3, 54.4, 64.9, 78.4, 75.6, 18.3, 28.9, 55.7],
    "p-tuning-v2": [63.5, 51.3, 61.2, 76.1, 66.2, 9.63, 21.1, 49.9],
    iapt: [66.3, 54.7, 67.8, 79.2, 77.3, 13.6, 25.8, 55],
    bitfit: [65.9, 54.1, 66.4, 77.2, 76.6, 11.8, 21.7, 53.4],
    ia3: [68.1, 54.6, 67.2, 78.1, 75.4, 13.2, 23.4, 54.3],
    ssp: [71.6, 57.6, 69.6, 79.5, 79.7, 15.9, 31.8, 58],
    lora: [73.4, 57.2, 68.8, 80.1, 81.4, 16.6, 31.1, 58.4],
    adalora: [73.8, 57.9, 69.2, 80.4, 82.1, 17.6, 31.7, 59],
    moelora: [76.8, 60.2, 72, 81.1, 82.7, 18.3, 32.3, 60.4],
    dora: [76.5, 59.8, 71.7, 80.6, 82.7, 17.9, 32.6, 60.3],
    milora: [77.8, 61.2, 72.8, 81.7, 83.3, 19.9, 33.9, 61.5],
    midora: [77.5, 61.3, 72.9, 81.3, 83.1, 19.3, 34.1, 61.3],
  },
  parameters: {
    "parallel-adapter": ["83.9M", "83.9M"],
    "learned-adapter": ["81.8M", "81.8M"],
    "p-tuning-v2": ["84.5M", "84.5M"],
    iapt: ["83.9M", "83.9M"],
    bitfit: ["87.0M", "87.0M"],
    ia3: ["78.6M", "78.6M"],
    ssp: ["80.6M", "80.6M"],
    lora: ["80.0M", "80.0M"],
    adalora: ["80.0M", "80.0M"],
    moelora: ["87.3M", "30.1M"],
    dora: ["80.0M", "80.0M"],
    milora: ["80.9M", "25.2M"],
    midora: ["80.9M", "25.8M"],
  },
};

/** Table 2: one model on the mix of ARC, BoolQ, OBQA and PIQA; means over these tasks. */
export const table2: PaperTable = {
  source: `Table 2 (${llama}), means over the tasks`,
  columns: ["mean, single", "mean, mix"],
  rows: { lora: [72.2, 70.2], moelora: [74.6, 73.9], dora: [74.3, 72.1], milora: [75.4, 75.2] },
};

/** Table 3: instruction tuning on Alpaca; MT-Bench is GPT-4's mean score of 10. */
export const table3: PaperTable = {
  source: `Table 3 (${llama}, trained on Alpaca; MT-Bench: GPT-4's mean score of 10)`,
  columns: ["mt-bench", "mmlu", "bbh"],
  rows: { moelora: [7.08, 48.2, 36.8], milora: [7.21, 49.7, 37.3] },
};

/** Table 4: decoding with unmerged adapters on an A40. Tokens a second and peak MiB, by beams. */
export const table4: PaperTable = {
  source: `Table 4 (${llama}, one A40, unmerged adapters)`,
  columns: ["tokens/s, 1 beam", "peak MiB, 1 beam", "tokens/s, 3 beams", "peak MiB, 3 beams"],
  rows: {
    dora: [36.5, 13_784, 29.6, 15_292],
    moelora: [35.9, 13_788, 28.4, 15_352],
    milora: [43.7, 13_784, 33.5, 15_300],
  },
};

/** Table 5: ablations of pooler and activation. */
export const table5: PaperTable = {
  source: `Table 5 (${llama})`,
  columns: ["boolq", "piqa", "mmlu"],
  rows: {
    milora: [72.8, 83.3, 49.7],
    "milora-1 (average pooling)": [72.5, 83.1, 49.5],
    "milora-2 (last token)": [72.4, 82.9, 49.6],
    "milora-3 (GeLU)": [72.3, 82.8, 49.3],
    "milora-4 (ReLU, then GeLU)": [71.5, 82, 48.7],
    "milora-5 (GeLU, then ReLU)": [72.4, 82.9, 49.4],
  },
};

/** Table 7: other backbones. */
export const table7 = {
  "llama-2-13b": {
    source: "Table 7 (Llama-2 13B)",
    columns: ["boolq", "piqa", "mmlu"],
    rows: { moelora: [73.5, 85.8, 50.5], milora: [74.9, 86.6, 51.2] },
  },
  "gemma-2b": {
    source: "Table 7 (Gemma 2B)",
    columns: ["boolq", "piqa", "mmlu"],
    rows: { moelora: [62.3, 79.4, 39.8], milora: [63.9, 80.3, 40.7] },
  },
} as const satisfies Record<string, PaperTable>;

/** Figures 3 to 5 are curves without printed numbers; where MiLoRA's own setting lies, Table 1 prints its value. */
const curve = (figure: string, row: string): PaperTable => ({
  source: `${figure} is a curve without printed numbers; the row ${row} is MiLoRA of Table 1 (${llama})`,
  columns: ["boolq", "piqa"],
  rows: { [row]: [72.8, 83.3] },
});

export const figure3 = curve("Figure 3", "topK=3");
export const figure4 = curve("Figure 4", "balance=0.01");
export const figure5 = curve("Figure 5", "rank=32");

/** Figure 2: bars without printed numbers. */
export const figure2 =
  "Figure 2 prints no numbers; the text says that no expert is active in more than 30 % of the layers";
