import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openBackend, type PythonBackend } from "../../../ts/bridge/index.js";
import { failureOf, testPython } from "../../fixtures/bridge/support.js";

let backend: PythonBackend;

beforeAll(async () => {
  const pythonPath = [fileURLToPath(new URL("../../fixtures/bridge", import.meta.url))];
  backend = await openBackend({ python: testPython(), pythonPath, opModules: ["hazards"] });
});
afterAll(() => backend.close());

test("defaults are filled before an input is sent", async () => {
  const result = await backend.call("dataLoss", { data: "dev", rows: [0] });
  expect(result).toEqual({ nll: 1.5, answerTokens: 16, routing: null });
});

test("a wrong input is refused with every fault, unsent", async () => {
  const error = await failureOf(backend.call("dataLoss", { data: "dev", rows: [], microBatch: 0.5 }));
  expect(error).toMatchObject({ code: "input/invalid-spec", path: "rows" });
  expect(error.problems).toHaveLength(2);
});

test("a wrong output is a fault of the protocol", async () => {
  const error = await failureOf(backend.call("saveAdapter", { adapter: "a", folder: "f" }));
  expect(error.code).toBe("bridge/protocol");
  expect(error.message).toMatch(/saveAdapter[^]*bytes/);
});

test("an unknown operation names the known ones", async () => {
  const error = await failureOf(backend.session.call("ecko", {}));
  expect(error).toMatchObject({ code: "input/unknown-name", found: "ecko", hint: "Did you mean echo?" });
});

test("the signal goes through", async () => {
  const call = backend.call("closeModel", {}, { signal: AbortSignal.abort() });
  expect((await failureOf(call)).code).toBe("cancelled");
  expect(await backend.call("closeModel", {})).toEqual({});
});
