import { execa } from "execa";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { finishSweep, killSweep, recordedSteps, sweepTableOf } from "../../scripts/lib/sweep-kills.js";
import { seededRandom } from "../../ts/util/random.js";
import { jsonOf, programFile, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

const steps = 12;

/** Two methods by seeds on a file of rows; float32 on the CPU, so that tables can be compared exactly. */
const specFile = async (seeds: readonly number[] = [0, 1]): Promise<string> => {
  const folder = await temporaryFolder();
  const rows = Array.from({ length: 60 }, (_, index) =>
    JSON.stringify({ prompt: `What follows ${index}?`, answer: ` ${index + 1}` }),
  );
  writeFileSync(join(folder, "train.jsonl"), rows.join("\n"));
  const train = {
    batchSize: 4,
    dtype: "float32",
    device: "cpu",
    learningRate: 1e-3,
    epochs: 9,
    maxSteps: steps,
    checkpointEvery: 3,
    evalEvery: 3,
  };
  const sweep = {
    name: "tiny",
    model: model.folder,
    spec: { data: { train: join(folder, "train.jsonl") }, train },
    axes: {
      method: [
        { kind: "lora", rank: 4 },
        { kind: "milora", rank: 4 },
      ],
      "train.seed": seeds,
    },
    groups: [{ name: "rows" }],
  };
  const file = join(folder, "sweep.json");
  writeFileSync(file, JSON.stringify(sweep));
  return file;
};

const runsIn = (out: string): readonly string[] =>
  existsSync(join(out, "runs")) ? readdirSync(join(out, "runs")).map((id) => join(out, "runs", id, "run")) : [];

/** Starts the sweep and sends it a signal while its run number `count` is at work. */
const interrupt = async (args: readonly string[], count: number, signal: "SIGKILL" | "SIGINT") => {
  const out = args[args.indexOf("--out") + 1] ?? "";
  const child = execa("node", [programFile, ...args], { reject: false, timeout: 240_000 });
  const deadline = Date.now() + 200_000;
  while (Date.now() < deadline && child.exitCode === null) {
    if (runsIn(out).filter((run) => recordedSteps(run).some((step) => step >= 3)).length >= count) break;
    await wait(20);
  }
  child.kill(signal);
  return child;
};

interface Job {
  readonly id: string;
  readonly state: string;
  readonly attempts: number;
}

const jobsIn = (out: string): readonly Job[] => JSON.parse(readFileSync(join(out, "sweep.json"), "utf8")).jobs;

const textOf = (file: string): string => readFileSync(file, "utf8");

describe("milora sweep", () => {
  it("killed by -9, then by Ctrl-C, then left alone: each run once, the same table as undisturbed", async () => {
    const spec = await specFile();
    const folder = await temporaryFolder();
    const [straight, disturbed] = [join(folder, "straight"), join(folder, "disturbed")];
    const undisturbed = await runProgram(["sweep", spec, "--out", straight, "--json"]);
    expect(undisturbed.exitCode, undisturbed.stderr).toBe(0);

    const args = ["sweep", spec, "--out", disturbed, "--json"];
    expect((await interrupt(args, 2, "SIGKILL")).signal).toBe("SIGKILL");
    const [first, second] = jobsIn(disturbed);
    expect([first?.state, second?.state]).toEqual(["finished", "running"]);
    const firstRecord = textOf(join(disturbed, "runs", first?.id ?? "", "run", "run.json"));

    const stopped = await interrupt(args, 3, "SIGINT");
    expect(stopped.exitCode).toBe(130);
    expect(jobsIn(disturbed).map(({ state }) => state)).toEqual(["finished", "finished", "stopped", "waiting"]);

    const last = await runProgram(args);
    expect(last.exitCode, last.stderr).toBe(0);
    expect(jobsIn(disturbed).map(({ state, attempts }) => [state, attempts])).toEqual([
      ["finished", 1],
      ["finished", 2],
      ["finished", 2],
      ["finished", 1],
    ]);
    for (const run of runsIn(disturbed))
      expect(recordedSteps(run)).toEqual(Array.from({ length: steps }, (_, step) => step + 1));
    expect(textOf(join(disturbed, "runs", first?.id ?? "", "run", "run.json"))).toBe(firstRecord);
    expect(sweepTableOf(disturbed)).toEqual(sweepTableOf(straight));
    expect(sweepTableOf(disturbed)).toMatchObject({
      tables: [{ measure: "dev perplexity", rows: [{ trainable: 4096, after: [{ seed: 0 }, { seed: 1 }] }, {}] }],
    });

    const again = await runProgram(args);
    expect(again.exitCode).toBe(0);
    expect(jsonOf(again)).toEqual(jsonOf(last));
    expect(jobsIn(disturbed).map(({ attempts }) => attempts)).toEqual([1, 2, 2, 1]);
  });

  it("killed by -9 at random moments: the same table, each step once, no finished job touched again", async () => {
    const folder = await temporaryFolder();
    const options = { command: [programFile], spec: await specFile([0]), folder, steps };
    const undisturbed = await finishSweep(options, join(folder, "straight"));
    // scripts/sweep-kills.ts makes as many as one likes.
    const result = await killSweep({ ...options, kills: 3, random: seededRandom(5) }, undisturbed);
    expect(result.kills).toBe(3);
    expect(result.sweeps).toBeGreaterThan(0);
  });

  it("lists the runs without starting Python, and names a wrong axis", async () => {
    const spec = await specFile();
    const out = join(await temporaryFolder(), "out");
    const env = { MILORA_PYTHON: "/nowhere/python" };
    const listed = await runProgram(["sweep", spec, "--out", out, "--dry-run", "--only", "/lora", "--json"], { env });
    expect(jsonOf(listed)).toMatchObject({
      runs: [
        { name: "rows/lora rank=4/seed-0", state: "waiting" },
        { name: "rows/lora rank=4/seed-1", state: "waiting" },
      ],
      estimate: { left: 2, seconds: null, bytes: null },
    });
    expect(existsSync(out)).toBe(false);
    writeFileSync(spec, textOf(spec).replace("train.seed", "train.seeed"));
    const wrong = await runProgram(["sweep", spec, "--out", out], { env });
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain('Did you mean "train.seed"?');
  });

  it("plans the runs of a table of the paper without starting Python, and names a table that is none", async () => {
    const out = join(await temporaryFolder(), "out");
    const env = { MILORA_PYTHON: "/nowhere/python" };
    const rest = ["--model", "m", "--scale", "small", "--out", out, "--dry-run", "--json"];
    const planned = await runProgram(["reproduce", "figure-3", ...rest], { env });
    expect(planned.exitCode, planned.stderr).toBe(0);
    expect(jsonOf(planned)).toMatchObject({ estimate: { left: 16, seconds: null } });
    const speed = await runProgram(["reproduce", "table-4", ...rest], { env });
    expect(jsonOf(speed)).toMatchObject({ bench: { beams: [1, 3], rounds: 3 } });
    expect(existsSync(out)).toBe(false);
    const wrong = await runProgram(["reproduce", "figure-9", ...rest], { env });
    expect(wrong.exitCode).toBe(2);
    expect(jsonOf(wrong)).toMatchObject({ error: { code: "input/unknown-name", path: "target", found: "figure-9" } });
  });
});
