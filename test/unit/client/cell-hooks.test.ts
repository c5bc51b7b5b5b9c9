import { afterEach, expect, test, vi } from "vitest";
import { cellHooks } from "../../../ts/client/cell-hooks.js";

afterEach(() => {
  vi.unstubAllGlobals();
});

test("outside a notebook Python's lines and the set-up are told to nobody", () => {
  expect(cellHooks()).toEqual({});
});

test("in a notebook Python's lines go to the cell's streams, the set-up into one output", () => {
  const shown: unknown[] = [];
  let outputs = 0;
  const newDisplay = () => {
    outputs += 1;
    return { raw: (_mimeType: string, data: unknown) => shown.push(data) };
  };
  vi.stubGlobal("__tslab__", { require: () => ({ newDisplay }) });
  const written: string[] = [];
  for (const name of ["stdout", "stderr"] as const)
    vi.spyOn(process[name], "write").mockImplementation((text) => written.push(`${name}: ${String(text)}`) > 0);
  const { onLog, onProgress } = cellHooks();
  onLog?.({ level: "info", text: "printed" });
  onLog?.({ level: "warning", text: "warned" });
  for (const elapsedSeconds of [1, 2.4]) onProgress?.({ stage: "packages", message: "installing", elapsedSeconds });
  expect(written).toEqual(["stdout: printed\n", "stderr: warned\n"]);
  expect(shown).toEqual(["milora: installing (1 s)", "milora: installing (2 s)"]);
  expect(outputs).toBe(1);
});
