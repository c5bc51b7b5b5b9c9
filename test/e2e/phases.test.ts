import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openMilora, defineTask, type Milora, type TrainInput } from "../../ts/index.js";
import { jsonOf, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";
import { eventsOf, interruptProgram, stateOf, weightSteps, writeRunSpec } from "../support/training-runs.js";

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

const train = { batchSize: 12, maxSteps: 12, checkpointEvery: 2, evalEvery: 3, keepCheckpoints: 20 };
const methods = [
  { kind: "learned-adapter", bottleneck: 4 },
  { kind: "ssp", rank: 4, budgetRank: 2 },
  { kind: "adalora", initialRank: 4, targetRank: 2 },
];
const searches = (kind: string): boolean => kind !== "adalora";

/** The spec's file as the session's `train` takes it. */
const inputOf = (file: string): TrainInput => {
  const { method, data, train: settings } = JSON.parse(readFileSync(file, "utf8"));
  const { device: _device, dtype: _dtype, ...rest } = settings;
  return { method, data, train: rest };
};

const checkpointsOf = (run: string): readonly number[] =>
  readdirSync(join(run, "checkpoints"))
    .map((name) => Number(name.replace("step-", "")))
    .toSorted((a, b) => a - b);

/** A copy of a run as a kill right after a checkpoint leaves it. */
const cutAfter = (run: string, out: string, step: number): void => {
  cpSync(run, out, { recursive: true });
  rmSync(join(out, "adapter"), { recursive: true });
  for (const later of checkpointsOf(run).filter((at) => at > step))
    rmSync(join(out, "checkpoints", `step-${later}`), { recursive: true });
  const manifest = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
  writeFileSync(join(out, "run.json"), JSON.stringify({ ...manifest, state: "running", stoppedBy: null }));
};

const plansOf = (run: string): readonly string[] =>
  ["adapter_config.json", "search.json"]
    .map((name) => join(run, "plan", name))
    .filter((file) => existsSync(file))
    .map((file) => readFileSync(file, "utf8"));

const task = defineTask({
  name: "following",
  version: 1,
  choices: ["1", "2"],
  load: async () => [{ number: 0 }, { number: 1 }],
  prompt: ({ number }) => `What follows ${number}?`,
  answer: ({ number }) => String(number + 1),
  metric: "accuracy",
});

describe.each(methods)("$kind", (method) => {
  it("12 steps = kill -9 and --resume, bit for bit, and the adapter loads and is scored", async () => {
    const spec = await writeRunSpec({ model: model.folder, method, train });
    const folder = await temporaryFolder();
    const [straight, killed] = [join(folder, "straight"), join(folder, "killed")];
    await milora.train(inputOf(spec), { out: straight, progress: false }).result;
    const at = { run: killed, step: 4, signal: "SIGKILL" } as const;
    expect((await interruptProgram(["train", spec, "--out", killed], at)).signal).toBe("SIGKILL");
    const resumed = await runProgram(["train", spec, "--out", killed, "--resume", "--json"]);
    expect(resumed.exitCode).toBe(0);
    expect(jsonOf(resumed)).toMatchObject({ steps: 12, stoppedBy: "max-steps" });
    expect(stateOf(killed, 12)).toEqual(stateOf(straight, 12));
    expect(plansOf(killed)).toEqual(plansOf(straight));
    expect(weightSteps(killed)).toEqual(Array.from({ length: 12 }, (_, index) => index + 1));
    const { results } = await milora.evaluate({
      tasks: [task],
      adapter: join(killed, "adapter"),
      scorer: "loglik",
    });
    expect(results[0]).toMatchObject({ task: "following", total: 2 });
  });

  it("goes on from each of its checkpoints to the same trainables", async () => {
    const input = inputOf(await writeRunSpec({ model: model.folder, method, train }));
    const folder = await temporaryFolder();
    const straight = join(folder, "straight");
    const { best } = await milora.train(input, { out: straight, progress: false }).result;
    const phases = eventsOf(straight).filter(({ type }) => type === "phase");
    expect(phases.map(({ name }) => name)).toEqual(searches(method.kind) ? ["search", "train"] : []);
    const [, found] = phases;
    if (found !== undefined) {
      expect(checkpointsOf(straight)).toContain(found.step);
      expect(best?.step).toBeGreaterThan(found.step ?? Infinity);
    }
    for (const step of checkpointsOf(straight).filter((at) => at < 12)) {
      const cut = join(folder, `cut-${step}`);
      cutAfter(straight, cut, step);
      const result = await milora.train(input, { out: cut, resume: true, progress: false }).result;
      expect(result, `from step ${step}`).toMatchObject({ steps: 12, best });
      expect(stateOf(cut, 12), `from step ${step}`).toEqual(stateOf(straight, 12));
      expect(plansOf(cut)).toEqual(plansOf(straight));
    }
  });
});
