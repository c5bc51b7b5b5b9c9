import { expect, test } from "vitest";
import { errorOfEnvelope, openEnvelope } from "../../../ts/bridge/envelope.js";

const link = (fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => ({
  type: "ValueError",
  module: "builtins",
  message: "wrong",
  traceback: "Traceback …",
  ...fields,
});

test("the value of a value envelope, with its tags restored", () => {
  expect(openEnvelope('{"v":{"loss":{"$float":"nan"}}}')).toEqual({ loss: Number.NaN });
  expect(openEnvelope('{"v":null}')).toBeNull();
});

test("a code that this side does not know is a Python exception", () => {
  const error = errorOfEnvelope(JSON.stringify({ e: [link({ code: "future/code" })] }));
  expect(error).toMatchObject({ code: "python/exception", message: "ValueError: wrong" });
});

test("details of a wrong kind are left out, not fatal", () => {
  const details = { file: "a.jsonl", line: "seven", problems: [1], other: true };
  const error = errorOfEnvelope(JSON.stringify({ e: [link({ code: "data/bad-row", details })] }));
  expect(error).toMatchObject({ code: "data/bad-row", file: "a.jsonl", line: undefined, problems: [] });
});

test("causes are nested in order", () => {
  const error = errorOfEnvelope(
    JSON.stringify({ e: [link({}), link({ type: "KeyError" }), link({ type: "OSError" })] }),
  );
  expect(error.cause).toMatchObject({ pythonType: "KeyError", cause: { pythonType: "OSError" } });
});

test.each(["", "{}", '{"e":[]}', "nonsense"])("an unreadable envelope %j is a fault of the protocol", (text) => {
  expect(errorOfEnvelope(text)).toMatchObject({ code: "bridge/protocol" });
});

test("a bare traceback that names a missing module", () => {
  const text = "Traceback (most recent call last):\n  File …\nModuleNotFoundError: No module named 'torch'\n";
  expect(errorOfEnvelope(text)).toMatchObject({
    code: "environment/missing-package",
    found: "torch",
    traceback: text,
  });
});

test("another bare traceback", () => {
  expect(errorOfEnvelope("Traceback (most recent call last):\n  File …\nSyntaxError: bad\n")).toMatchObject({
    code: "python/exception",
    pythonType: "SyntaxError",
    message: "SyntaxError: bad",
  });
});
