import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { median } from "../../ts/util/statistics.js";
import { jsonOf, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";

const llama7b = "test/fixtures/configs/llama-2-7b";
const noPython = { MILORA_PYTHON: "/nowhere/python" };

describe("milora, without Python", () => {
  it("prints help and version and never looks for Python", async () => {
    const help = await runProgram(["--help"], { env: noPython });
    expect(help.exitCode).toBe(0);
    for (const command of [
      "setup",
      "doctor",
      "quickstart",
      "params",
      "train",
      "eval",
      "generate",
      "score",
      "compare",
      "tasks",
    ])
      expect(help.stdout).toContain(`  ${command} `);
    expect((await runProgram(["--version"], { env: noPython })).stdout).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it("prints help with little more than Node's own start", async () => {
    const times: { help: number; node: number }[] = [];
    const timed = async (args: readonly string[]): Promise<number> => {
      const start = performance.now();
      const { execa } = await import("execa");
      await execa("node", args, { stdio: "ignore" });
      return performance.now() - start;
    };
    for (let round = 0; round < 7; round += 1)
      times.push({ node: await timed(["-e", "0"]), help: await timed(["dist/cli/main.js", "--help"]) });
    expect(median(times.map(({ help, node }) => help / node))).toBeLessThan(3.5);
  });

  it("ends with code 2 for wrong usage and names the commands", async () => {
    const result = await runProgram(["trian", "spec.json"], { env: noPython });
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain("unknown command 'trian'");
  });

  it("lists all five errors of a spec with their paths", async () => {
    const file = join(await temporaryFolder(), "spec.json");
    const spec = {
      model: "",
      method: { kind: "milora", rank: 0, topk: 2 },
      data: { task: "arc-easy", dev: { split: 2 } },
      train: { learningRate: "fast" },
    };
    writeFileSync(file, JSON.stringify(spec));
    const result = await runProgram(["train", file, "--json"], { env: noPython });
    expect(result.exitCode).toBe(2);
    expect(jsonOf(result)).toMatchObject({ error: { code: "input/invalid-spec" } });
    for (const path of ["model", "method.rank", "method.topk", "data.dev.split", "train.learningRate"])
      expect(result.stderr).toContain(`- ${path}: `);
  });

  it("says what an unknown method and task were meant to be", async () => {
    const method = await runProgram(["params", llama7b, "--method", "mlora"], { env: noPython });
    expect(method).toMatchObject({ exitCode: 2 });
    expect(method.stderr).toContain('Did you mean "milora"?');
    const file = join(await temporaryFolder(), "outputs.jsonl");
    writeFileSync(file, '{"output": "x", "answer": "y"}\n');
    const task = await runProgram(["score", "--task", "arc-esy", "--outputs", file], { env: noPython });
    expect(task).toMatchObject({ exitCode: 2 });
    expect(task.stderr).toContain('did you mean "arc-easy"');
  });

  it("scores saved outputs", async () => {
    const file = join(await temporaryFolder(), "outputs.jsonl");
    const lines = [
      { output: "the correct answer is answer2", answer: "answer2" },
      { output: "not answer1 but answer3", answer: "answer1" },
      { output: "no idea", answer: "answer1" },
    ];
    writeFileSync(file, lines.map((line) => JSON.stringify(line)).join("\n"));
    const result = await runProgram(["score", "--task", "arc-easy", "--outputs", file, "--json"], { env: noPython });
    expect(jsonOf(result)).toMatchObject({ correct: 1, total: 3, unparsed: 1, read: ["answer2", "answer3", null] });
  });

  it("says what to do where there is no such Python", async () => {
    const result = await runProgram(["params", llama7b, "--json"], { env: noPython });
    expect(result.exitCode).toBe(1);
    expect(jsonOf(result)).toMatchObject({ error: { code: "environment/no-python" } });
    expect(result.stderr).toContain("MILORA_PYTHON");
  });
});

describe("milora, with Python", () => {
  it("counts the paper's parameters of a Llama-2 7B config", async () => {
    const milora = jsonOf(await runProgram(["params", llama7b, "--method", "milora", "--json"]));
    expect(milora).toMatchObject({
      method: "milora",
      trainable: 81_002_880,
      adapter: 79_953_920,
      adapterAndProjection: 80_871_424,
      activated: { min: 25_165_824, max: 46_399_488 },
    });
    const lora = jsonOf(await runProgram(["params", llama7b, "--method", "lora", "--json"]));
    expect(lora).toMatchObject({ trainable: 79_953_920 });
  });

  it("names a missing model folder", async () => {
    const result = await runProgram(["params", "./nowhere", "--json"]);
    expect(result.exitCode).toBe(2);
    expect(jsonOf(result)).toMatchObject({ error: { code: "model/not-found" } });
  });

  it("refuses a decoder that it does not know with the list of its linear modules", async () => {
    const folder = join(await temporaryFolder(), "neox");
    mkdirSync(folder);
    const config = {
      model_type: "gpt_neox",
      architectures: ["GPTNeoXForCausalLM"],
      hidden_size: 32,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      intermediate_size: 64,
      vocab_size: 100,
    };
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    const refused = await runProgram(["params", folder, "--json"]);
    expect(refused.exitCode).toBe(2);
    expect(jsonOf(refused)).toMatchObject({ error: { code: "model/unsupported" } });
    expect(refused.stderr).toContain("attention.query_key_value");
    const names = JSON.stringify({ qkv: "attention.query_key_value", down: "mlp.dense_4h_to_h" });
    const named = await runProgram([
      "params",
      folder,
      "--json",
      "--set",
      `moduleNames=${names}`,
      "--set",
      "topK=1",
      "--set",
      "rank=2",
    ]);
    expect(jsonOf(named)).toMatchObject({ adapter: 2 * 2 * (32 + 96 + 64 + 32) });
  });

  it("tells a truncated safetensors file apart from a good one", async () => {
    const folder = join(await temporaryFolder(), "broken");
    cpSync(llama7b, folder, { recursive: true });
    writeFileSync(join(folder, "model.safetensors"), Buffer.from([255, 0, 0, 0, 0, 0, 0, 0, 123]));
    const result = await runProgram(["generate", "--model", folder, "--prompt", "Hi", "--json"]);
    expect(result.exitCode).toBe(2);
    expect(jsonOf(result)).toMatchObject({ error: { code: "model/unreadable" } });
    expect(result.stderr).toContain("model.safetensors");
  });

  it("checks the machine", async () => {
    const result = await runProgram(["doctor", "--json"]);
    expect(jsonOf(result)).toMatchObject({
      ok: true,
      checks: expect.arrayContaining([expect.objectContaining({ name: "device" })]),
    });
  });
});
