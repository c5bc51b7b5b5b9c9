import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { jsonOf, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

const generated = z.object({ outputs: z.array(z.object({ text: z.string() })) });

const succeed = async (args: readonly string[]) => {
  const result = await runProgram(args);
  expect(result.stderr.split("\n").filter((line) => line.startsWith("milora:"))).toEqual([]);
  expect(result.exitCode).toBe(0);
  return result;
};

const textsOf = async (adapter: string): Promise<readonly string[]> => {
  const prompts = ["What follows 3?", "What follows 17? so so so"].flatMap((prompt) => ["--prompt", prompt]);
  const args = ["generate", "--model", model.folder, "--adapter", `it=${adapter}`, "--dtype", "float32", "--json"];
  const { outputs } = generated.parse(jsonOf(await succeed([...args, "--max-new-tokens", "10", ...prompts])));
  return outputs.map(({ text }) => text);
};

const train = async (folder: string, name: string, method: object, settings: object): Promise<string> => {
  const rows = Array.from({ length: 40 }, (_, row) =>
    JSON.stringify({ prompt: `What follows ${row}?`, answer: ` ${row + 1}` }),
  );
  writeFileSync(join(folder, "rows.jsonl"), rows.join("\n"));
  const shared = { batchSize: 8, maxSteps: 6, learningRate: 1e-2, dtype: "float32", device: "cpu" };
  const data = { train: join(folder, "rows.jsonl") };
  const spec = { model: model.folder, method, data, train: { ...shared, ...settings } };
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(spec));
  await succeed(["train", join(folder, `${name}.json`), "--out", join(folder, name)]);
  return join(folder, name, "adapter");
};

describe("upcycling", () => {
  it("makes experts of a LoRA adapter, trains their routers, and writes plain LoRA again", async () => {
    const folder = await temporaryFolder();
    const lora = await train(folder, "lora", { kind: "lora", rank: 4 }, {});
    const imported = join(folder, "imported");
    await succeed(["import", lora, "--model", model.folder, "--out", imported, "--set", "topK=3", "--json"]);
    const all = join(folder, "all.json");
    writeFileSync(all, JSON.stringify({ kind: "all" }));
    const back = join(folder, "back");
    await succeed(["export", imported, "--out", back, "--policy", all, "--json"]);
    expect(await textsOf(back)).toEqual(await textsOf(lora));

    const method = { kind: "milora", rank: 4, topK: 3 };
    const warm = { warmStart: imported, trains: "router", maxSteps: 3 };
    const routed = await train(folder, "routed", method, warm);
    const run = z.object({ step: z.literal(3) }).loose();
    expect(run.parse(JSON.parse(readFileSync(join(folder, "routed", "run.json"), "utf8")))).toBeDefined();
    const again = join(folder, "again");
    await succeed(["export", routed, "--out", again, "--policy", all, "--json"]);
    expect(await textsOf(again)).toEqual(await textsOf(lora));
    const refused = await runProgram(["export", routed, "--out", join(folder, "no"), "--json"]);
    expect(refused.exitCode).toBe(2);
    expect(jsonOf(refused)).toMatchObject({ error: { code: "adapter/unsupported" } });
  });
});
