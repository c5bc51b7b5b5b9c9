import { execFile } from "node:child_process";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { OpInput, OpOutput } from "../../../ts/backend/backend.js";
import { testPython } from "../../fixtures/bridge/support.js";

type Description = OpOutput<"describeModel">;

const lastPart = (path: string): string => path.slice(path.lastIndexOf(".") + 1);

const moduleNames = (described: Description): readonly string[] => [
  ...new Set(described.layers.flatMap(({ linears }) => linears.map(({ name }) => lastPart(name)))),
];

/** A new folder with a tiny checkpoint in `model` and three rows in `rows.jsonl`. */
export const makeCheckpoint = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "milora-ops-"));
  const program = fileURLToPath(new URL("make_checkpoint.py", import.meta.url));
  await promisify(execFile)(testPython(), [program, join(folder, "model")], { timeout: 120_000 });
  const rows = ["one", "two", "three"].map((answer) => JSON.stringify({ prompt: `Say ${answer}: `, answer }));
  await writeFile(join(folder, "rows.jsonl"), rows.join("\n"));
  return folder;
};

/** A MiLoRA plan over every linear module: rank 4, k = 2; experts are named as the modules. */
export const planOf = (
  described: Description,
  changes: OpInput<"attachAdapter">["config"] = {},
): OpInput<"attachAdapter">["config"] => ({
  peft_type: "MILORA_PROMPT",
  task_type: "CAUSAL_LM",
  base_model_name_or_path: described.model,
  inference_mode: true,
  format_version: 1,
  requires: "milora",
  r: 4,
  lora_alpha: 4,
  lora_dropout: 0,
  expert: "lora",
  policy: "learned",
  target_modules: [...moduleNames(described)],
  top_k: 2,
  pooler: "self-attention",
  gate: "scaled",
  accumulate: "base",
  router_input: "normalized",
  hidden_size: described.hiddenSize,
  layers: described.layers.map(({ path, linears }) => ({
    path,
    activation: "rational",
    chosen: null,
    experts: linears.map(({ name, inFeatures, outFeatures }) => ({
      name: lastPart(name),
      module: name,
      in_features: inFeatures,
      out_features: outFeatures,
      rank: 4,
      alpha: 4,
    })),
  })),
  ...changes,
});

/** The plan of plain LoRA over the same modules. */
export const loraPlanOf = (
  described: Description,
  targets: readonly string[] = moduleNames(described),
): OpInput<"attachAdapter">["config"] => ({
  peft_type: "LORA",
  task_type: "CAUSAL_LM",
  base_model_name_or_path: described.model,
  inference_mode: true,
  r: 4,
  lora_alpha: 4,
  lora_dropout: 0,
  target_modules: [...targets],
  bias: "none",
});

/** Every module of every layer by its full path, and the experts' names by layer path. */
export const everyExpert = (
  described: Description,
): { readonly targets: readonly string[]; readonly chosen: OpInput<"exportLora">["chosen"] } => ({
  targets: described.layers.flatMap(({ path, linears }) => linears.map(({ name }) => `${path}.${name}`)),
  chosen: Object.fromEntries(
    described.layers.map(({ path, linears }) => [path, linears.map(({ name }) => lastPart(name))]),
  ),
});
