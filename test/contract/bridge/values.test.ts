import { expect, test } from "vitest";
import { failureOf, useHazards } from "../../fixtures/bridge/support.js";

const session = useHazards();

test("NaN, infinities and -0 come back exactly", async () => {
  expect(await session().call("floats", {})).toEqual({
    values: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e308, 0.1],
    deep: { loss: Number.NaN },
  });
});

test.each([
  [Number.NaN, "nan", "float"],
  [Number.NEGATIVE_INFINITY, "-inf", "float"],
  [-0, "-0.0", "float"],
  [0.1, "0.1", "float"],
  [3, "3", "int"],
  [2n ** 63n, "9223372036854775808", "int"],
  [null, "None", "NoneType"],
])("%s arrives in Python as itself", async (value, text, type) => {
  expect(await session().call("describe", { value })).toEqual({ text, type });
});

test("integers beyond 2^53 - 1 are bigints, smaller ones are numbers", async () => {
  expect(await session().call("integers", {})).toEqual({
    values: [9007199254740991, 9007199254740992n, -9223372036854775808n, 10n ** 40n, 1.2345678901234567],
  });
});

test("keys that look like tags are data", async () => {
  const value = { a: { $float: "nan" }, b: { $int: "1", $object: {} }, c: "$int 12345678901234567" };
  expect(await session().call("tagged_keys", {})).toEqual(value);
  expect(await session().call("echo", value)).toEqual(value);
  expect(await session().call("describe", { value: value.a })).toEqual({ text: "{'$float': 'nan'}", type: "dict" });
});

test("ffid, callables' names and prototype names are data", async () => {
  const value = { ffid: 3, call: 1, length: { ffid: "" }, nested: [{ ffid: 0, r: 1 }], toString: "x" };
  expect(await session().call("echo", value)).toEqual(value);
});

test("every kind of text passes both ways", async () => {
  const value = {
    text: `emoji \u{1F600}, \u4E16, \u2028, NUL \0, lone \uD800 and \uDC00, "quotes" \\ \n \r end`,
    "\uD83D": "key",
  };
  expect(await session().call("echo", value)).toEqual(value);
});

test("10 MB pass both ways", async () => {
  const value = { text: "0123456789".repeat(1_000_000), list: Array.from({ length: 1000 }, (_, index) => index / 7) };
  const result = await session().call("echo", value);
  // Not toEqual: a failure would print 10 MB.
  expect(JSON.stringify(result) === JSON.stringify(value)).toBe(true);
});

test.each(["bytes", "set", "object", "nested", "loop"])("an unserialisable result (%s) is an error", async (kind) => {
  const error = await failureOf(session().call("unserialisable", { kind }));
  expect(error.code).toBe("bridge/protocol");
  expect(error.message).toContain("cannot be sent");
  expect(await session().call("echo", { alive: true })).toEqual({ alive: true });
});

test("an input that JSON cannot hold is refused before it is sent", async () => {
  const loop: Record<string, unknown> = {};
  loop["self"] = loop;
  expect((await failureOf(session().call("echo", loop))).code).toBe("bridge/protocol");
});

test("raw calls give NaN, infinities, nested ones too, and large integers as they are", async () => {
  const builtins = await session().python("builtins");
  expect(await builtins.float("nan")).toBeNaN();
  expect(await builtins.float("-inf")).toBe(Number.NEGATIVE_INFINITY);
  expect(await builtins.int("9223372036854775807")).toBe(9223372036854775807n);
  expect(await builtins.int("9007199254740991")).toBe(9007199254740991);
  const mixed = await builtins.eval("[float('nan'), {'deep': [float('inf'), 2**60]}, {'$int': 'no tag'}]");
  expect(await mixed.valueOf()).toEqual([
    Number.NaN,
    { deep: [Number.POSITIVE_INFINITY, 2n ** 60n] },
    { $int: "no tag" },
  ]);
  expect(await (await builtins.list([1, "two"])).valueOf()).toEqual([1, "two"]);
});

test("a raw value that JSON cannot hold is an error, and Python lives", async () => {
  const bytes = await (await session().python("builtins")).bytes([1, 2]);
  const error = await failureOf(bytes.valueOf());
  expect(error).toMatchObject({ code: "python/exception", pythonType: "TypeError" });
  expect(error.message).toContain("builtins.bytes");
  expect(await bytes.hex()).toBe("0102");
});

test.each([Number.NaN, 5n, [1, [Number.POSITIVE_INFINITY]], { key: Number.NaN }])(
  "the raw argument %s, which would arrive as something else, is refused",
  async (argument) => {
    const { repr } = await session().python("builtins");
    expect((await failureOf(repr(argument))).code).toBe("bridge/protocol");
  },
);
