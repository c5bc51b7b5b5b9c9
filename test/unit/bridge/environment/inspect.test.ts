import { describe, expect, test } from "vitest";
import { inspectEnvironment } from "../../../../ts/bridge/environment/index.js";
import { describeDevice } from "../../../../ts/bridge/environment/inspect.js";
import { fakeMachine } from "./fake-python.js";

const device = { cuda: false, cudaBuild: null, mps: false, name: null };
const gpu = "NVIDIA H100, 570.86";

describe("which device, and why", () => {
  test.each([
    ["no torch", null, [], false, "cpu", "torch does not import"],
    ["no GPU", device, [], true, "cpu", "nvidia-smi finds no NVIDIA GPU"],
    ["a CPU build beside a GPU", device, [gpu], false, "cpu", "build without CUDA; run: py -m pip install"],
    ["a GPU that torch cannot use", { ...device, cudaBuild: "13.0" }, [gpu], false, "cpu", "update the NVIDIA driver"],
    ["a GPU", { ...device, cuda: true, cudaBuild: "13.0", name: "H100" }, [gpu], true, "cuda", "H100"],
    ["Apple's GPU", { ...device, mps: true }, [], true, "mps", "Apple"],
  ] as const)("%s", (_name, seen, gpus, ok, expected, detail) => {
    const result = describeDevice(seen, gpus, "py");
    expect(result).toMatchObject({ ok, device: expected });
    expect(result.detail).toContain(detail);
  });
});

describe("inspectEnvironment", () => {
  test("before set-up: says what to run, and makes nothing", async () => {
    const machine = await fakeMachine();
    const { ok, python, checks } = await inspectEnvironment({ variables: machine.variables });
    expect({ ok, python }).toEqual({ ok: false, python: null });
    expect(checks.find(({ name }) => name === "python")).toMatchObject({
      ok: false,
      detail: expect.stringContaining("milora setup"),
    });
    expect(checks.map(({ name }) => name)).toEqual(["node", "python", "disk", "pythonia"]);
    expect(machine.takeCalls()).toEqual([]);
  });

  test("with a MILORA_PYTHON that lacks everything: the python line carries the cure", async () => {
    const machine = await fakeMachine({ packages: {} });
    const variables = { ...machine.variables, MILORA_PYTHON: machine.python };
    const { checks } = await inspectEnvironment({ variables });
    expect(checks.find(({ name }) => name === "python")?.detail).toContain("-m pip install");
  });
});
