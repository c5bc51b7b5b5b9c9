import { createHash } from "node:crypto";

/** An object with string keys; no array. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `over` laid on `base`: objects are merged field by field, everything else (lists too) is replaced. */
export const deepMerge = (base: unknown, over: unknown): unknown => {
  if (over === undefined) return base;
  if (!isRecord(base) || !isRecord(over)) return over;
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) merged[key] = deepMerge(base[key], value);
  return merged;
};

/** `value` inside objects by a dotted path: `train.seed`, 3 → `{ train: { seed: 3 } }`. */
export const nested = (path: string, value: unknown): unknown =>
  path.split(".").reduceRight((inner: unknown, key) => ({ [key]: inner }), value);

/** JSON with sorted keys, the same for equal values whatever the order of their fields. */
export const canonicalJson = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) =>
    isRecord(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([left], [right]) => (left < right ? -1 : 1)))
      : inner,
  );

/** The first eight hexadecimal digits of the SHA-256 of a value's canonical JSON. */
export const shortHash = (value: unknown): string =>
  createHash("sha256").update(canonicalJson(value)).digest("hex").slice(0, 8);
