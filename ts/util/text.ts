/** A value as an error message shows it: JSON (of what has none, its type), cut at `limit` characters. */
export const shown = (value: unknown, limit = 60): string => {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? typeof value;
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
};

/** Number of Unicode characters (code points), as Python's `len` counts them. */
export const countCharacters = (text: string): number => {
  let count = 0;
  for (const character of text) count += character.length > 0 ? 1 : 0;
  return count;
};

/** A list cut into pieces of `size`; the last may be shorter. */
export const chunks = <Item>(items: readonly Item[], size: number): Item[][] => {
  const result: Item[][] = [];
  for (let start = 0; start < items.length; start += size) result.push(items.slice(start, start + size));
  return result;
};

/** `1 row`, `2 rows`. */
export const counted = (count: number, singular: string, plural = `${singular}s`): string =>
  `${count} ${count === 1 ? singular : plural}`;

/** A text in one line: every run of white space is one space, none at the ends. */
export const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").trim();

/** Escapes what a regular expression would read as syntax. */
export const escapeRegExp = (text: string): string => text.replaceAll(/[$()*+.?[\\\]^{|}/-]/g, String.raw`\$&`);

/** Text as HTML and SVG hold it, in attributes too. */
export const escapeMarkup = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
