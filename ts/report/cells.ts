import type { Cell, Column, DataValue } from "./report-model.js";

/** Stands where there is no value. */
export const none = "-";

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Thousands apart by commas. */
export const grouped = (value: number): string => value.toLocaleString("en");

/** A rate a second: whole from 10 on. */
export const rate = (value: number | null): string =>
  value === null ? none : value < 10 ? value.toFixed(1) : grouped(Math.round(value));

/** Percentage points with their sign. */
export const points = (difference: number): string => `${difference > 0 ? "+" : ""}${(100 * difference).toFixed(1)}`;

export const probability = (p: number): string => (p < 0.0001 ? "< 0.0001" : p.toFixed(4));

/** A column of words. */
export const textColumn = (title: string, csv = csvName(title)): Column => ({ title, numeric: false, csv: [csv] });

/** A column of numbers; with several CSV names its cells hold as many values. */
export const numberColumn = (title: string, csv: string | readonly string[] = csvName(title)): Column => ({
  title,
  numeric: true,
  csv: typeof csv === "string" ? [csv] : csv,
});

export const textCell = (text: string | null): Cell => ({ text: text ?? none, values: [text] });

/** A number as `show` writes it; nothing where there is none. */
export const numberCell = (value: number | null | undefined, show: (value: number) => string): Cell =>
  value === null || value === undefined ? { text: none, values: [null] } : { text: show(value), values: [value] };

/** A text that stands for several values. */
export const cellOf = (text: string, values: readonly DataValue[]): Cell => ({ text, values });

export const csvName = (title: string): string =>
  title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "_")
    .replaceAll(/^_|_$/g, "");

/** Best and second best of a column's values, as the paper marks them; equals share a mark, one value has none. */
export const marksOf = (
  values: readonly (number | null)[],
  higherIsBetter: boolean,
): readonly ("best" | "second" | undefined)[] => {
  const present = values.filter((value) => value !== null);
  const ranked = [...new Set(present)].toSorted((left, right) => (higherIsBetter ? right - left : left - right));
  if (present.length < 2) return values.map(() => undefined);
  const isTie = present.filter((value) => value === ranked[0]).length > 1;
  return values.map((value) =>
    value === null ? undefined : value === ranked[0] ? "best" : value === ranked[1] && !isTie ? "second" : undefined,
  );
};

/** How to read the marks of a table. */
export const marksGuide =
  "Bold: the best; underlined: the second best; ≈: inside the spread of the best, so no difference is shown.";
