/**
 * LLM-Adapters' own readers, faults included, for comparison with figures that were made with them: they take the
 * first (numbers: the last) match anywhere, inside words too, and mind the case.
 */

const firstOf = (output: string, labels: readonly string[]): string | null => {
  let best: { readonly label: string; readonly at: number } | undefined;
  for (const label of labels) {
    const at = output.indexOf(label);
    if (at >= 0 && (best === undefined || at < best.at)) best = { label, at };
  }
  return best?.label ?? null;
};

/** The first label found anywhere: "answer12" reads as answer1, "not answer1 but answer3" too. */
export const compatChoice = (output: string, labels: readonly string[]): string | null =>
  firstOf(output.trim(), labels);

/** The first capital letter found anywhere: "Answer: B" reads as A. */
export const compatLetter = (output: string, letters: readonly string[]): string | null =>
  firstOf(output.trim(), letters);

/** The first `true` or `false` found anywhere: "untrue" reads as true, "True" not at all. */
export const compatBoolean = (output: string): "true" | "false" | null => {
  const found = firstOf(output.trim(), ["true", "false"]);
  return found === "true" || found === "false" ? found : null;
};

/** The last number: "The answer is 1/2." reads as 2. */
export const compatNumber = (output: string): string | null => {
  const last = [...output.replaceAll(",", "").matchAll(/-?\d+\.?\d*/g)].at(-1);
  return last === undefined ? null : String(Number(last[0]) + 0);
};
