import { execa } from "execa";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { packageRoot, pythonRoot } from "../../ts/bridge/environment/index.js";
import { jsonOf, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";

const generated = z.object({ outputs: z.array(z.object({ text: z.string() })) });
const texts = z.object({ batch: z.array(z.string()), single: z.array(z.string()) });

const newTokens = 12;
/** Twenty prompts of very different lengths. */
const prompts = Array.from(
  { length: 20 },
  (_, index) => `Request: ${"Please, ".repeat((index * 5) % 17)}turn on light number ${index}.\nCalls:`,
);

/** An adapter of a short training on the real model: `MILORA_TEST_ADAPTER` names another one to compare with. */
const trainedAdapter = async (folder: string): Promise<string> => {
  const given = process.env["MILORA_TEST_ADAPTER"];
  if (given !== undefined) return given;
  const spec = {
    model: "smollm2-135m",
    method: { kind: "milora", rank: 8 },
    data: { task: "smart-home", limit: 20, dev: { split: 0.1 } },
    train: { maxSteps: 4, batchSize: 4, learningRate: 2e-3, activationLearningRate: 0 },
  };
  writeFileSync(join(folder, "spec.json"), JSON.stringify(spec));
  const trained = await runProgram(["train", join(folder, "spec.json"), "--out", join(folder, "run")]);
  expect(trained.exitCode).toBe(0);
  return join(folder, "run", "adapter");
};

describe("an adapter that milora trained, in plain Python", () => {
  it(
    "gives the text that milora generate gives, for 20 prompts in a left-padded batch and one by one",
    { timeout: 600_000 },
    async () => {
      const folder = await temporaryFolder();
      const adapter = await trainedAdapter(folder);
      const args = prompts.flatMap((prompt) => ["--prompt", prompt]);
      const model = ["--model", "smollm2-135m", "--adapter", `mine=${adapter}`, "--dtype", "float32"];
      const ours = await runProgram(["generate", ...model, "--max-new-tokens", String(newTokens), ...args, "--json"]);
      expect(ours.stderr).not.toContain("milora:");
      const expected = generated.parse(jsonOf(ours)).outputs.map(({ text }) => text);
      writeFileSync(join(folder, "prompts.json"), JSON.stringify(prompts));
      const script = join(packageRoot, "test", "fixtures", "python", "peft_generate.py");
      const python = process.env["MILORA_PYTHON"] ?? "python3";
      const { stdout } = await execa(python, [script, adapter, join(folder, "prompts.json"), String(newTokens)], {
        env: { PYTHONPATH: pythonRoot, HF_HUB_OFFLINE: "1", TRANSFORMERS_VERBOSITY: "error" },
        timeout: 400_000,
      });
      const plain = texts.parse(JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? ""));
      expect(plain.batch).toEqual(expected);
      expect(plain.single).toEqual(expected);
      expect(new Set(expected).size).toBeGreaterThan(1);
    },
  );
});
