import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { ensureEnvironment, inspectEnvironment, packageRoot } from "../../../ts/bridge/environment/index.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

const python = process.env["MILORA_PYTHON"] ?? "python3";

const lives = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** A Python with nothing installed, made by the real venv. */
const bareEnvironment = async (): Promise<string> => {
  const folder = join(await temporaryFolder(), "bare");
  await execa(python, ["-m", "venv", "--without-pip", folder]);
  return folder;
};

describe("a real Python without torch", () => {
  test("as MILORA_PYTHON: an error with every missing package and the command", async () => {
    const bare = join(await bareEnvironment(), "bin", "python");
    const variables = { ...process.env, MILORA_PYTHON: bare };
    const error = await rejectionOf(ensureEnvironment({ variables }), "environment/missing-package");
    expect(error.problems).toContain("torch>=2.13,<2.15 is missing");
    expect(error.hint).toMatch(/^run: .*bin\/python -m pip install .*"torch>=2\.13,<2\.15"/u);
  });

  test("as the active environment: passed over", async () => {
    const variables = { ...process.env, MILORA_PYTHON: "", VIRTUAL_ENV: await bareEnvironment(), PATH: "/nowhere" };
    const home = await temporaryFolder();
    const made = ensureEnvironment({ variables: { ...variables, MILORA_HOME: home } });
    await rejectionOf(made, "environment/no-python");
  });
});

test("doctor's checks hold in the environment of the tests", async () => {
  const { checks, device } = await inspectEnvironment();
  expect(checks.filter(({ ok }) => !ok)).toEqual([]);
  expect(["cpu", "cuda", "mps"]).toContain(device);
  expect(checks.find(({ name }) => name === "packages")?.detail).toMatch(/torch 2\.\d+/u);
});

/** A program that runs a Python module as the set-up runs pip; it prints the module's own process id, then waits. */
const program = `
import { runGuarded } from ${JSON.stringify(join(packageRoot, "ts/bridge/environment/guarded.ts"))};
const statement = "import os, time; print(os.getpid(), flush=True); time.sleep(100)";
await runGuarded({
  python: ${JSON.stringify(python)}, module: "timeit", args: ["-n", "1", statement], variables: process.env,
  logFile: process.argv[2], onLine: (line) => console.log(line),
});
`;

test("node killed with -9: the pip that it started ends too", { timeout: 60_000 }, async () => {
  const folder = await temporaryFolder();
  const file = join(folder, "program.mts");
  await writeFile(file, program);
  // Not through the tsx command: that would be a process between this one and the one to kill.
  const tsx = import.meta.resolve("tsx");
  const node = execa(process.execPath, ["--import", tsx, file, join(folder, "log")], {
    reject: false,
    timeout: 30_000,
  });
  let pid = Number.NaN;
  for await (const line of node.iterable()) {
    pid = Number(line);
    expect(lives(pid)).toBe(true);
    node.kill("SIGKILL");
  }
  expect(pid).toBeGreaterThan(0);
  await expect.poll(() => lives(pid), { timeout: 5_000 }).toBe(false);
});
