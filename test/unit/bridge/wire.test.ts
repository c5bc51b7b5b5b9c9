import { expect, test } from "vitest";
import { decode, encode, untag } from "../../../ts/bridge/wire.js";

test.each([
  [Number.NaN, '{"$float":"nan"}'],
  [Number.POSITIVE_INFINITY, '{"$float":"inf"}'],
  [Number.NEGATIVE_INFINITY, '{"$float":"-inf"}'],
  [-0, '{"$float":"-0.0"}'],
  [2n ** 64n, '{"$int":"18446744073709551616"}'],
  [{ $int: "5" }, '{"$object":{"$int":"5"}}'],
  [{ a: { $object: { $float: "nan" } } }, '{"a":{"$object":{"$object":{"$object":{"$float":"nan"}}}}}'],
  [[1, "text", true, null], '[1,"text",true,null]'],
])("%s is written as %s and read back", (value, text) => {
  expect(encode(value)).toBe(text);
  expect(decode(text)).toEqual(value);
  expect(untag(JSON.parse(text))).toEqual(value);
});

test("fields that are undefined are left out, and nothing at all is null", () => {
  expect(encode({ a: undefined, b: 1 })).toBe('{"b":1}');
  expect(encode(undefined)).toBe("null");
});

test("a value that contains itself is an error", () => {
  const loop: unknown[] = [];
  loop.push(loop);
  expect(() => encode(loop)).toThrow(TypeError);
});
