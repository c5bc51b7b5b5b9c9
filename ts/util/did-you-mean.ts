/** Edits between two words: insert, delete, replace, and swap of neighbours (optimal string alignment). */
const editDistance = (left: string, right: string): number => {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      let best = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (swapped) best = Math.min(best, (beforePrevious[column - 2] ?? 0) + 1);
      current.push(best);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous.at(-1) ?? 0;
};

const simplified = (name: string): string => name.toLowerCase().replaceAll(/[\s_-]+/g, "");

/** The candidate that `name` was most likely meant to be; undefined where none is close (a third of its letters). */
export const nearest = (name: string, candidates: readonly string[]): string | undefined => {
  const wanted = simplified(name);
  let best: { readonly candidate: string; readonly distance: number } | undefined;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, simplified(candidate));
    if (best === undefined || distance < best.distance) best = { candidate, distance };
  }
  if (best === undefined) return undefined;
  const longest = Math.max(wanted.length, simplified(best.candidate).length);
  return best.distance <= Math.max(1, Math.floor(longest / 3)) ? best.candidate : undefined;
};

/** One sentence for a name that nothing has: `Unknown task "arc-esy": did you mean "arc-easy"? Known: …`. */
export const unknownNameMessage = (kind: string, name: string, candidates: readonly string[]): string => {
  const guess = nearest(name, candidates);
  const question = guess === undefined ? "" : ` did you mean "${guess}"?`;
  const known = candidates.length === 0 ? " There are none." : ` Known: ${candidates.join(", ")}.`;
  return `Unknown ${kind} "${name}":${question}${known}`;
};
