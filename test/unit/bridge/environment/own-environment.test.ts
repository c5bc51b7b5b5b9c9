import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { type EnvironmentProgress, ensureEnvironment, findPython } from "../../../../ts/bridge/environment/index.js";
import { lockFile } from "../../../../ts/bridge/environment/requirements.js";
import { rejectionOf } from "../../../support/thrown.js";
import { fastest } from "../../../support/timing.js";
import { fakeMachine } from "./fake-python.js";

const install = (stage: "packages" | "demo" | "dev") => ["pip", `install ${lockFile(stage)}`];

/** The folder of the one environment of this machine. */
const environmentFolder = (home: string): string => {
  const [name = ""] = readdirSync(home).filter((each) => each.startsWith("python-") && !each.endsWith(".lock"));
  return join(home, name);
};

describe("milora's own environment", () => {
  test("is made in stages, verified once, and then found without starting Python", async () => {
    const machine = await fakeMachine();
    const { variables } = machine;
    const made = await ensureEnvironment({ variables });
    expect(made).toMatchObject({ source: "own", created: true });
    expect(machine.takeCalls()).toEqual([`version ${machine.python}`, "venv", ...install("packages"), "probe"]);

    const again = async (): Promise<void> => {
      expect(await ensureEnvironment({ variables })).toMatchObject({ python: made.python, created: false });
    };
    expect(await fastest(3, again)).toBeLessThan(50);
    expect((await findPython({ variables }))?.python).toBe(made.python);
    expect(machine.takeCalls()).toEqual([]);
  });

  test("an extra asked for later is one more stage", async () => {
    const machine = await fakeMachine();
    await ensureEnvironment({ variables: machine.variables });
    machine.takeCalls();
    const both = await ensureEnvironment({ variables: machine.variables, extras: ["demo", "dev"] });
    expect(both.created).toBe(true);
    expect(machine.takeCalls().filter((call) => call !== "probe")).toEqual([
      `version ${machine.python}`,
      ...install("demo"),
      ...install("dev"),
    ]);
  });

  test("progress names the stages, the download and its size", async () => {
    const machine = await fakeMachine();
    const events: EnvironmentProgress[] = [];
    await ensureEnvironment({ variables: machine.variables, onProgress: (event) => events.push(event) });
    expect([...new Set(events.map(({ stage }) => stage))]).toEqual(["venv", "packages", "verify"]);
    expect(events.map(({ message }) => message)).toContain(
      "installing PyTorch, transformers and PEFT: downloading torch-2.13.0, 180.2 MB",
    );
  });
});

describe("interruption and repair", () => {
  test("pip killed by a signal: the error says so, and the next call goes on after venv", async () => {
    const machine = await fakeMachine();
    machine.plant("kill-pip");
    const error = await rejectionOf(ensureEnvironment({ variables: machine.variables }), "environment/install-failed");
    expect(error.message).toContain("SIGKILL");
    machine.takeCalls();
    expect((await ensureEnvironment({ variables: machine.variables })).created).toBe(true);
    expect(machine.takeCalls()).toEqual([`version ${machine.python}`, ...install("packages"), "probe"]);
  });

  test("pip's failure names its last error and the log that holds the rest", async () => {
    const machine = await fakeMachine();
    machine.plant("fail-pip");
    const error = await rejectionOf(ensureEnvironment({ variables: machine.variables }), "environment/install-failed");
    expect(error.found).toBe("ERROR: No space left on device");
    expect(error.file).toBe(join(environmentFolder(machine.home), "pip.log"));
    expect(readFileSync(error.file ?? "", "utf8")).toContain("Downloading torch-2.13.0");
  });

  test("an abort ends pip and is told as cancelled", async () => {
    const machine = await fakeMachine();
    machine.plant("slow-pip");
    const controller = new AbortController();
    const onProgress = ({ message }: EnvironmentProgress) => {
      if (message.includes("downloading")) controller.abort();
    };
    const made = ensureEnvironment({ variables: machine.variables, signal: controller.signal, onProgress });
    await rejectionOf(made, "cancelled");
    rmSync(join(machine.folder, "slow-pip"));
    expect((await ensureEnvironment({ variables: machine.variables })).created).toBe(true);
  });

  test.each([
    ["garbled", (folder: string) => writeFileSync(join(folder, "state.json"), '{"version":1,"sta')],
    ["missing", (folder: string) => rmSync(join(folder, "state.json"))],
    ["of a later format", (folder: string) => writeFileSync(join(folder, "state.json"), '{"version":2,"stages":{}}')],
    ["without its interpreter", (folder: string) => rmSync(join(folder, "venv", "bin", "python"))],
  ])("a state %s: everything is made anew", async (_name, damage) => {
    const machine = await fakeMachine();
    await ensureEnvironment({ variables: machine.variables });
    machine.takeCalls();
    damage(environmentFolder(machine.home));
    expect((await ensureEnvironment({ variables: machine.variables })).created).toBe(true);
    expect(machine.takeCalls().slice(0, 4)).toEqual([`version ${machine.python}`, "venv", ...install("packages")]);
  });

  test("an environment that no longer imports is repaired, first by pip alone", async () => {
    const machine = await fakeMachine();
    await ensureEnvironment({ variables: machine.variables });
    rmSync(join(machine.home, "probes"), { recursive: true });
    machine.takeCalls();
    machine.plant("break-probe");
    expect((await ensureEnvironment({ variables: machine.variables })).created).toBe(true);
    expect(machine.takeCalls()).toEqual([`version ${machine.python}`, "probe", ...install("packages"), "probe"]);
  });

  test("an environment that cannot be repaired: three attempts, then an error with the problems", async () => {
    const machine = await fakeMachine({ packages: { transformers: "5.23.0" } });
    const error = await rejectionOf(ensureEnvironment({ variables: machine.variables }), "environment/install-failed");
    expect(error.problems).toContain("torch>=2.13,<2.15 is missing");
    const calls = machine.takeCalls().filter((call) => call === "pip" || call === "venv");
    expect(calls).toEqual(["venv", "pip", "pip", "venv", "pip"]);
  });

  test("a package that was cut off while being unpacked is not taken for installed", async () => {
    const machine = await fakeMachine();
    machine.plant("kill-pip");
    await rejectionOf(ensureEnvironment({ variables: machine.variables }), "environment/install-failed");
    const half = join(environmentFolder(machine.home), "venv/lib/python3.11/site-packages/torch-2.13.0.dist-info");
    const whole = join(dirname(half), "numpy-2.4.6.dist-info");
    for (const folder of [half, whole]) mkdirSync(folder, { recursive: true });
    writeFileSync(join(half, "METADATA"), "Name: torch");
    writeFileSync(join(whole, "RECORD"), "");
    await ensureEnvironment({ variables: machine.variables });
    expect([existsSync(half), existsSync(whole)]).toEqual([false, true]);
  });

  test("two calls at once make it once", async () => {
    const machine = await fakeMachine();
    const { variables } = machine;
    const [first, second] = await Promise.all([ensureEnvironment({ variables }), ensureEnvironment({ variables })]);
    expect(first.python).toBe(second.python);
    expect(machine.takeCalls().filter((call) => call === "venv" || call === "pip")).toEqual(["venv", "pip"]);
  });
});
