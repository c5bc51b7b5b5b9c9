/**
 * JSON that loses nothing: the twin of `py/milora/server/wire.py`. What JSON or JavaScript cannot hold travels as an
 * object with one key: `{"$float": "nan" | "inf" | "-inf" | "-0.0"}`, `{"$int": "<digits>"}` (a bigint), and
 * `{"$object": {…}}` around an object whose own keys start with `$`.
 */

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const floatNames: ReadonlyMap<number, string> = new Map([
  [Number.NaN, "nan"],
  [Number.POSITIVE_INFINITY, "inf"],
  [Number.NEGATIVE_INFINITY, "-inf"],
]);

const floatValues: ReadonlyMap<unknown, number> = new Map([
  ["nan", Number.NaN],
  ["inf", Number.POSITIVE_INFINITY],
  ["-inf", Number.NEGATIVE_INFINITY],
  ["-0.0", -0],
]);

const tagNumber = (value: number): unknown => {
  if (Object.is(value, -0)) return { $float: "-0.0" };
  return Number.isFinite(value) ? value : { $float: floatNames.get(value) };
};

/** The text of a value for Python; NaN, infinities, -0 and bigints arrive exactly, whole numbers as `int`. */
export const encode = (value: unknown): string => {
  /** The insides of `$object`s made here: they come by again, and must not be wrapped twice. */
  const wrapped = new WeakSet<object>();
  const text = JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === "number") return tagNumber(item);
    if (typeof item === "bigint") return { $int: String(item) };
    if (!isObject(item) || wrapped.has(item)) return item;
    if (!Object.keys(item).some((key) => key.startsWith("$"))) return item;
    const inner = { ...item };
    wrapped.add(inner);
    return { $object: inner };
  });
  return text ?? "null";
};

/** Restores a parsed value's tags. */
export const untag = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(untag);
  if (!isObject(value)) return value;
  const keys = Object.keys(value);
  if (keys.length === 1) {
    if (keys[0] === "$float") return floatValues.get(value["$float"]);
    if (keys[0] === "$int") return BigInt(String(value["$int"]));
    if (keys[0] === "$object" && isObject(value["$object"])) return untagFields(value["$object"]);
  }
  return untagFields(value);
};

/** The value of a text from Python. */
export const decode = (text: string): unknown => {
  const value: unknown = JSON.parse(text);
  return text.includes('"$') ? untag(value) : value;
};

const untagFields = (value: Readonly<Record<string, unknown>>): unknown =>
  Object.fromEntries(Object.entries(value).map(([key, item]) => [key, untag(item)]));
