/** What counts of a scored row. */
interface Outcome {
  readonly read: string | null;
  readonly correct: boolean;
}

/** What a part of a task's rows scored. */
export interface GroupFigures {
  readonly accuracy: number;
  readonly correct: number;
  readonly total: number;
  readonly unparsed: number;
}

/** One way of parting the rows. */
export interface Grouping {
  /** Mean of the parts' accuracies, each part counting the same. */
  readonly mean: number;
  /** By name, such as `anatomy`. */
  readonly parts: Readonly<Record<string, GroupFigures>>;
}

/** The names of the parts that one row belongs to, such as `{ subjects: "anatomy", categories: "other" }`. */
export type RowGroups = Readonly<Record<string, string>>;

const figuresOf = (rows: readonly Outcome[]): GroupFigures => {
  const correct = rows.filter((row) => row.correct).length;
  const unparsed = rows.filter((row) => row.read === null).length;
  return { accuracy: correct / rows.length, correct, total: rows.length, unparsed };
};

const grouping = (rows: readonly Outcome[], names: readonly string[]): Grouping => {
  const byName = new Map<string, Outcome[]>();
  rows.forEach((row, position) => {
    const name = names[position] ?? "";
    const part = byName.get(name);
    if (part === undefined) byName.set(name, [row]);
    else part.push(row);
  });
  const parts = [...byName].map(([name, part]) => [name, figuresOf(part)] as const);
  const sum = parts.reduce((total, [, { accuracy }]) => total + accuracy, 0);
  return { mean: sum / parts.length, parts: Object.fromEntries(parts) };
};

/** The figures of each part, in the parts' first order; undefined where rows have no parts. `groups`: of each row. */
export const groupFigures = (
  rows: readonly Outcome[],
  groups: readonly RowGroups[],
): Readonly<Record<string, Grouping>> | undefined => {
  const names = Object.keys(groups.at(0) ?? {});
  if (names.length === 0) return undefined;
  return Object.fromEntries(
    names.map((name) => [
      name,
      grouping(
        rows,
        groups.map((of) => of[name] ?? ""),
      ),
    ]),
  );
};

/**
 * The first `limit` items, in their order; where they have parts, the parts share them evenly: the first one of each,
 * then the second one of each, and so on.
 */
export const firstOfEach = <Item>(
  items: readonly Item[],
  limit: number,
  partOf: (item: Item) => string,
): readonly Item[] => {
  const seen = new Map<string, number>();
  const ranked = items.map((item, index) => {
    const part = partOf(item);
    const rank = seen.get(part) ?? 0;
    seen.set(part, rank + 1);
    return { item, index, rank };
  });
  return ranked
    .toSorted((left, right) => left.rank - right.rank)
    .slice(0, limit)
    .toSorted((left, right) => left.index - right.index)
    .map(({ item }) => item);
};
