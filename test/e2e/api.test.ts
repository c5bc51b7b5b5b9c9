import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MiloraError, openMilora, defineTask, type Milora, type TrainInput } from "../../ts/index.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
let milora: Milora;
beforeAll(async () => {
  model = await makeTinyModel();
  milora = await openMilora({ model: model.folder, device: "cpu", dtype: "float32" });
});
afterAll(async () => {
  await milora.close();
  model.remove();
});

const rows = Array.from({ length: 40 }, (_, index) => ({ prompt: `What follows ${index}?`, answer: ` ${index + 1}` }));
const train = { batchSize: 8, learningRate: 1e-2, evalEvery: 2, maxSteps: 6 };

const spec = async (): Promise<TrainInput> => {
  const file = join(await temporaryFolder(), "rows.jsonl");
  writeFileSync(file, rows.map((row) => JSON.stringify(row)).join("\n"));
  return { method: { kind: "milora", rank: 4 }, data: { train: file }, train };
};

describe("the API", () => {
  it("counts parameters and shows the graph before any weights are read", async () => {
    const session = await openMilora({ model: "test/fixtures/configs/llama-2-7b" });
    expect((await session.params({ kind: "milora", rank: 32, topK: 3 })).trainable).toBe(81_002_880);
    expect((await session.graph()).layers).toHaveLength(32);
    await session.close();
  });

  it("trains with events, and the loop's perplexity falls", async () => {
    const out = join(await temporaryFolder(), "run");
    const run = milora.train(await spec(), { out, progress: false });
    const perplexities: number[] = [];
    for await (const event of run) if (event.type === "evaluation") perplexities.push(event.perplexity);
    const { best, adapter } = await run.result;
    expect(perplexities).toHaveLength(3);
    expect(perplexities.at(-1)).toBeLessThan(perplexities[0] ?? 0);
    expect(best?.devPerplexity).toBe(Math.min(...perplexities));
    expect(existsSync(join(adapter, "adapter_model.safetensors"))).toBe(true);
  });

  it("stops a run when a listener says so", async () => {
    const run = milora.train(await spec(), { out: join(await temporaryFolder(), "run"), progress: false });
    for await (const event of run) if (event.type === "evaluation") run.stop("good enough");
    expect(await run.result).toMatchObject({ stoppedBy: "good enough", steps: 2 });
  });

  it("lets a program own the loop, and gives the very steps that train gives", async () => {
    const input = await spec();
    const trainer = await milora.trainer(input);
    for (const batch of trainer.batches()) {
      await trainer.weightsStep(batch);
      await trainer.activationStep(trainer.nextDevBatch());
    }
    const losses = (await trainer.figures()).map(({ loss }) => loss);
    const perplexity = await trainer.devPerplexity();
    await trainer.close();
    const run = milora.train(input, { out: join(await temporaryFolder(), "run"), progress: false });
    const same: (number | null)[] = [];
    let last = Number.NaN;
    for await (const event of run) {
      if (event.type === "step") same.push(event.loss);
      if (event.type === "evaluation") last = event.perplexity;
    }
    expect(losses).toHaveLength(12);
    expect(same).toEqual(losses);
    expect(last).toBe(perplexity);
  });

  it("generates for several tenants, whatever their names, and the base model beside them", async () => {
    const out = join(await temporaryFolder(), "run");
    const { adapter } = await milora.train(await spec(), { out, progress: false }).result;
    await milora.load("mlp", adapter);
    await milora.load("a", adapter);
    const prompt = "What follows 7?";
    const requests = [{ tenant: "mlp", prompt }, { prompt }, { tenant: "a", prompt }];
    const [first, plain, second] = await milora.generate(requests, { maxNewTokens: 8, explain: true });
    expect(first).toMatchObject({ tenant: "mlp", text: second?.text });
    expect(first?.routing?.experts).toEqual(second?.routing?.experts);
    expect(first?.routing?.experts[0]).toHaveLength(3);
    expect(plain?.routing).toBeUndefined();
    await expect(milora.generate([{ tenant: "b", prompt }])).rejects.toMatchObject({ code: "adapter/not-found" });
    await milora.unload("mlp");
    await milora.unload("a");
  });

  it("scores a task of one's own", async () => {
    const folder = await temporaryFolder();
    const file = join(folder, "triage.jsonl");
    writeFileSync(file, ["bug", "praise"].map((kind) => JSON.stringify({ text: `this is ${kind}`, kind })).join("\n"));
    const task = defineTask({
      name: "triage",
      version: 1,
      choices: ["bug", "question", "praise"],
      load: async () => [
        { text: "it crashes", kind: "bug" },
        { text: "thank you", kind: "praise" },
      ],
      prompt: (row) => `Ticket: ${row.text}\nKind:`,
      answer: (row) => row.kind,
      metric: "accuracy",
    });
    const { results } = await milora.evaluate({ tasks: [task], scorer: "loglik" });
    expect(results[0]).toMatchObject({ task: "triage", total: 2, chance: 1 / 3, scorer: "loglik" });
  });

  it("trains on rows that a Python object holds", async () => {
    const python = await milora.python("builtins");
    const iterable = await python.eval(`[{"prompt": f"What follows {n}?", "answer": f" {n + 1}"} for n in range(30)]`);
    const input: TrainInput = {
      method: { kind: "lora", rank: 2 },
      data: { python: iterable },
      train: { maxSteps: 2 },
    };
    const { steps } = await milora.train(input, { out: join(await temporaryFolder(), "run"), progress: false }).result;
    expect(steps).toBe(2);
  });

  it("rejects with a typed error, and the session goes on", async () => {
    const file = join(await temporaryFolder(), "rows.jsonl");
    writeFileSync(file, '{"prompt": "a"}\n');
    const input: TrainInput = { method: { kind: "milora" }, data: { train: file } };
    const error: unknown = await milora.train(input, { progress: false }).result.catch((cause: unknown) => cause);
    expect(MiloraError.isInstance(error) && error).toMatchObject({ code: "data/bad-row", line: 1, file });
    const noSuch: unknown = await milora.python("no_such_module").catch((cause: unknown) => cause);
    expect(MiloraError.isInstance(noSuch) && noSuch.message).toContain("no_such_module");
    expect((await milora.generate([{ prompt: "Hi" }], { maxNewTokens: 2 }))[0]?.newTokens).toBeGreaterThan(0);
  });
});
