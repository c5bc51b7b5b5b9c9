/** Presets of the methods: settings by name, under what a spec says itself. */

type Settings = Readonly<Record<string, unknown>>;

/** The paper's ablations (Table 5). Its own settings are the defaults of the schemas. */
const routedPresets: Readonly<Record<string, Settings>> = {
  small: { rank: 8 },
  "milora-1": { pooler: "average" },
  "milora-2": { pooler: "last-token" },
  "milora-3": { activation: "gelu" },
  "milora-4": {
    activation: [
      { upTo: 0.5, activation: "relu" },
      { upTo: 1, activation: "gelu" },
    ],
  },
  "milora-5": {
    activation: [
      { upTo: 0.5, activation: "gelu" },
      { upTo: 1, activation: "relu" },
    ],
  },
};

/**
 * `small`: a budget of about 2.4 million parameters on SmolLM2-135M for every method, which is LoRA's at rank 8: 1.8 %
 * of the model, where the paper's 80 million are 1.2 % of Llama-2 7B. (At rank 5, the same share, MOELoRA's eight
 * experts would not have a rank each.)
 */
const presetsByKind: Readonly<Record<string, Readonly<Record<string, Settings>>>> = {
  milora: routedPresets,
  midora: routedPresets,
  lora: { small: { rank: 8 } },
  dora: { small: { rank: 8 } },
  adalora: { small: { initialRank: 16, targetRank: 8 } },
  moelora: { small: { rank: 8 } },
  "parallel-adapter": { small: { bottleneck: 35 } },
  "learned-adapter": { small: { bottleneck: 35 } },
  "p-tuning-v2": { small: { embedding: 137 } },
  iapt: { small: { bottleneck: 70 } },
  bitfit: { small: { vector: 16 } },
  ia3: { small: { vector: 35 } },
  ssp: { small: { rank: 16, budgetRank: 8 } },
};

const isRecord = (value: unknown): value is Settings =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A method with its preset's settings filled in where it says nothing; anything else as it is, for the schema to judge. */
export const withPreset = (method: unknown): unknown => {
  if (!isRecord(method)) return method;
  const { kind, preset } = method;
  const settings = presetsByKind[String(kind)]?.[String(preset)];
  return settings === undefined ? method : { ...settings, ...method };
};

/** The same for the method inside a run's spec. */
export const withMethodPreset = (spec: unknown): unknown =>
  isRecord(spec) && "method" in spec ? { ...spec, method: withPreset(spec["method"]) } : spec;
