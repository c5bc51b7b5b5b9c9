import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../../ts/util/random.js";
import { madeUpResult } from "./results.js";

const write = (file: string, value: unknown): void => {
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, typeof value === "string" ? value : JSON.stringify(value));
};

/** The methods of made-up runs, with what a prompt activates of them. */
const methods = [
  { kind: "lora", activated: { min: 2400, mean: 2400, max: 2400 } },
  { kind: "milora", activated: { min: 640, mean: 1040, max: 1520 } },
  { kind: "moelora", activated: { min: 1200, mean: 1200, max: 1200 } },
  { kind: "ia3", activated: { min: 240, mean: 240, max: 240 } },
] as const;

export interface MadeUpRun {
  readonly kind: (typeof methods)[number]["kind"];
  readonly rank: number;
  readonly seed: number;
  /** `1` right, `0` wrong, row by row. */
  readonly right: string;
  readonly steps?: number;
}

const parametersOf = (kind: string) => ({
  trainable: 2500,
  activated: methods.find((each) => each.kind === kind)?.activated ?? { min: 0, mean: 0, max: 0 },
});

const trainOf = ({ kind, seed, steps = 40 }: MadeUpRun) => ({
  versions: { milora: "0.1.0", torch: "2.13.0" },
  device: "cpu",
  dtype: "bfloat16",
  step: steps,
  stoppedBy: "steps",
  best: { step: steps, devPerplexity: 1.5 + seed / 10 },
  tokensPerSecond: 250,
  parameters: parametersOf(kind),
});

const manifestOf = (run: MadeUpRun) => ({
  format: 1,
  state: "finished",
  created: "2026-01-02T03:04:05.000Z",
  updated: "2026-01-02T03:14:05.000Z",
  ...trainOf(run),
  spec: {
    model: "m",
    method: { kind: run.kind, ...(run.kind === "ia3" ? {} : { rank: run.rank }) },
    data: { task: "arc-easy" },
    train: { seed: run.seed },
  },
  data: { train: "a", dev: "b", format: "plain" },
});

const eventsOf = ({ kind, seed, steps = 40 }: MadeUpRun): string => {
  const random = seededRandom(seed);
  const lines: object[] = Array.from({ length: steps }, (_, index) => ({
    time: "2026-01-02T03:04:05.000Z",
    type: "step",
    kind: "weights",
    step: index + 1,
    loss: 1 + 2 / (index + 1) + 0.1 * random(),
    balance: null,
    gradientNorm: 1,
    learningRate: 1e-4,
    answerTokens: 10,
    tokens: 20,
  }));
  const argmaxShare = kind === "milora" ? { q: 0.1, k: 0.2, v: 0.3, o: 0.1, gate: 0.1, up: 0.1, down: 0.1 } : null;
  for (const step of [steps / 2, steps])
    lines.push({ type: "evaluation", step, perplexity: 2 - step / steps / 2, best: true, balance: null, argmaxShare });
  return `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`;
};

/** Writes a run's folder as a finished run leaves it, with the result of its adapter. */
export const writeRun = (folder: string, run: MadeUpRun): void => {
  write(join(folder, "run.json"), manifestOf(run));
  write(join(folder, "events.jsonl"), eventsOf(run));
  write(join(folder, "results", "toy-generate.json"), madeUpResult(run.right));
};

const rowOf = ({ kind, rank }: MadeUpRun): string => (kind === "ia3" ? kind : `${kind}, rank=${rank}`);

const idOf = (run: MadeUpRun): string => `${rowOf(run).replaceAll(/\W+/g, "-")}-${run.seed}`;

const jobOf = (run: MadeUpRun) => ({
  id: idOf(run),
  name: `toy/${rowOf(run)}/seed-${run.seed}`,
  kind: "run",
  group: "toy",
  row: rowOf(run),
  seed: run.seed,
  tasks: ["toy"],
  before: null,
  state: "finished",
  attempts: 1,
  error: null,
  finished: "2026-01-02T03:14:05.000Z",
  machine: { cores: 2, processor: "A CPU", platform: "linux-x64", node: "20.19.0" },
  train: trainOf(run),
  scores: [madeUpResult(run.right)],
});

/** Writes a sweep's folder with its runs, all finished; returns the runs' folders. */
export const writeSweep = (folder: string, runs: readonly MadeUpRun[]): readonly string[] => {
  const jobs = runs.map(jobOf);
  write(join(folder, "sweep.json"), {
    format: 1,
    name: "Made up",
    description: "Runs & methods that nobody trained: 100 % made up.",
    model: "m_1",
    created: "2026-01-02T03:04:05.000Z",
    reference: null,
    plan: jobs.map(({ id }) => id),
    jobs,
  });
  return runs.map((run) => {
    const place = join(folder, "runs", idOf(run), "run");
    writeRun(place, run);
    return place;
  });
};

/** A string of `count` rows of which `correct` are right, in an order of its own seed. */
export const answers = (correct: number, count: number, seed: number): string => {
  const random = seededRandom(seed);
  const keys = Array.from({ length: count }, (_, index) => ({ index, key: random() }));
  const right = new Set(keys.toSorted((left, right) => left.key - right.key).slice(0, correct).map(({ index }) => index)); // prettier-ignore
  return Array.from({ length: count }, (_, index) => (right.has(index) ? "1" : "0")).join("");
};

/** A few runs: two methods at three ranks and one without, two seeds. */
export const someRuns: readonly MadeUpRun[] = [0, 1].flatMap((seed) => [
  ...([4, 8, 16] as const).flatMap((rank): readonly MadeUpRun[] => [
    { kind: "lora", rank, seed, right: answers(50 + rank, 100, seed + 7) },
    { kind: "milora", rank, seed, right: answers(55 + rank + 3 * seed, 100, seed + 9) },
  ]),
  { kind: "ia3", rank: 0, seed, right: answers(30 + seed, 100, seed) },
]);

/** A hundred runs of a thousand steps. */
export const manyRuns: readonly MadeUpRun[] = Array.from({ length: 100 }, (_, index) => {
  const { kind } = methods[index % 3] ?? methods[0];
  return { kind, rank: 2 ** (1 + (index % 5)), seed: index, right: answers(60, 100, index), steps: 1000 };
});

export const decodeBench = {
  rows: ["base", "lora", "milora"].flatMap((method, place) =>
    [1, 3].map((beams) => ({
      method,
      topK: method === "milora" ? 3 : null,
      beams,
      engine: "milora",
      tokensPerSecond: 40 - 3 * place - beams,
      ratioToBase: 1 - place / 10,
      peakBytes: 1e6 * (place + 1),
    })),
  ),
  machine: { cpu: "A CPU", cores: 2 },
};

export const tenantsBench = {
  rows: ["milora", "peft"].flatMap((engine, place) =>
    [1, 4, 16].map((tenants) => ({
      method: "lora",
      topK: null,
      tenants,
      rowsPerTenant: 1,
      engine,
      tokensPerSecond: 20 * tenants ** (0.8 - place / 4),
      ratioToBase: 0.9,
    })),
  ),
  machine: { cpu: "A CPU", cores: 2 },
};

/** What `milora.routing` gives of two tasks. */
export const taskRouting = ["boolq", "piqa"].map((task, place) => ({
  task,
  prompts: 10,
  layers: Array.from({ length: 12 }, (_, layer) =>
    Object.fromEntries(
      ["q", "k", "v", "o", "gate", "up", "down"].map((expert, index) => [
        expert,
        (layer * (place + 1) + 3 * index) % 11,
      ]),
    ),
  ),
}));

/** Writes what `milora routing` leaves in a run: two layers, half of the ten prompts through each of q and v. */
export const writeRouting = (run: string, task: string, prompts: readonly string[]): void => {
  const layer = { q: 5, k: 0, v: 5 };
  write(join(run, "routing", `${task}.json`), {
    format: 1,
    task,
    template: "default",
    prompts: 10,
    activeShare: { q: 0.5, k: 0, v: 0.5 },
    argmaxShare: { q: 0.5, k: 0, v: 0.5 },
    balance: 1.2,
    layers: [layer, layer],
    examples: prompts.map((prompt) => ({ prompt, layers: [{ q: 1.2, k: 0, v: 0 }, { q: 0, k: 0, v: 0.8 }] })), // prettier-ignore
  });
};

const rated = (mean: number, scored = 4) => ({ mean, scored, unscored: 0, missing: 0 });

const methodRatings = (label: string, mean: number, half: number, math: number) => ({
  label,
  interval: [mean - half, mean + half],
  overall: rated(mean, 8),
  turns: { 1: rated(mean + 1), 2: rated(mean - 1) },
  categories: { writing: rated(mean + 0.5), math: rated(math) },
});

const pairFigures = {
  means: { moelora: 6, milora: 7 },
  wins: { moelora: 2, milora: 8 },
  ties: 3,
  scored: 13,
  unscored: 0,
};

/** What `milora judge` writes of made-up ratings, of both modes in one. */
export const judged = {
  task: "mt-bench",
  judgeModel: "a-judge",
  protocol: "mt-bench; single-answer grading, 1 to 10; judge a-judge",
  methods: [
    methodRatings("milora", 7.21, 0.4, 5),
    methodRatings("moelora", 7.08, 0.4, 6),
    methodRatings("base", 3, 0.4, 2),
  ],
  pairs: [
    {
      methods: ["moelora", "milora"],
      overall: pairFigures,
      turns: { 1: pairFigures },
      categories: { math: pairFigures },
      positions: { first: 7, second: 6.5 },
    },
  ],
  missing: { judgements: 2, reasons: { "no-rating": 2 } },
};
