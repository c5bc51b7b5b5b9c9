import { execa } from "execa";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../ts/bridge/environment/index.js";

/** A tiny random decoder with a tokenizer in a folder of its own; `remove` deletes it. */
export const makeTinyModel = async ({
  family = "llama",
  seed = 0,
}: { readonly family?: "llama" | "gemma2"; readonly seed?: number } = {}): Promise<{
  readonly folder: string;
  readonly remove: () => void;
}> => {
  const parent = mkdtempSync(join(tmpdir(), "milora-model-"));
  const folder = join(parent, `tiny-${family}`);
  const script = join(packageRoot, "test", "fixtures", "python", "make_tiny_model.py");
  await execa(process.env["MILORA_PYTHON"] ?? "python3", [script, folder, family, String(seed)], { timeout: 120_000 });
  return { folder, remove: () => rmSync(parent, { recursive: true, force: true }) };
};
