/** Presets of the methods: settings by name, under what a spec says itself. */

type Settings = Readonly<Record<string, unknown>>;

/** The paper's ablations (Table 5). Its own settings are the defaults of the schemas. */
const routedPresets: Readonly<Record<string, Settings>> = {
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

const presetsByKind: Readonly<Record<string, Readonly<Record<string, Settings>>>> = {
  milora: routedPresets,
  midora: routedPresets,
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
