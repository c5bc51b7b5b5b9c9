/** Length of the balanced JSON array or object that starts `text`; undefined where it never closes. */
const balancedLength = (text: string): number | undefined => {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charAt(index);
    if (inString) {
      if (character === "\\") index += 1;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "[" || character === "{") depth += 1;
    else if (character === "]" || character === "}") {
      depth -= 1;
      if (depth === 0) return index + 1;
    }
  }
  return undefined;
};

/** An output with more opening brackets than this before any JSON is not worth reading on. */
const maximumStarts = 32;

const firstJson = (output: string): unknown => {
  const starts = [...output.matchAll(/[[{]/g)].slice(0, maximumStarts);
  for (const { index } of starts) {
    const rest = output.slice(index);
    const length = balancedLength(rest);
    if (length === undefined) continue;
    try {
      const value: unknown = JSON.parse(rest.slice(0, length));
      return value;
    } catch {
      // Not JSON from here on; the next bracket may be.
    }
  }
  return undefined;
};

const sortedKeys = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sortedKeys);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([left], [right]) => (left < right ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sortedKeys(inner)]));
};

/** JSON text in which neither the order of keys nor white space matters. */
export const canonicalJson = (value: unknown): string => JSON.stringify(sortedKeys(value));

/**
 * The first JSON array or object of an output in canonical form, a lone object as an array of one; null where there
 * is none.
 */
export const readJsonList = (output: string): string | null => {
  const value = firstJson(output);
  if (value === undefined) return null;
  return canonicalJson(Array.isArray(value) ? value : [value]);
};
