/** One item of a JSON array as it stands in the text. */
export interface JsonItem {
  /** 1-based line of the item's first character. */
  readonly line: number;
  readonly text: string;
}

const whitespace = /\s/;

/**
 * Cuts the text of a JSON array into its items without parsing them, so that a fault can be told by item and line.
 * A text that ends early gives its last, broken item too.
 */
export const jsonArrayItems = (text: string): readonly JsonItem[] => {
  const items: JsonItem[] = [];
  let depth = 0;
  let inString = false;
  let line = 1;
  let start = -1;
  let startLine = 1;
  const finish = (end: number): void => {
    if (start >= 0) items.push({ line: startLine, text: text.slice(start, end).trimEnd() });
    start = -1;
  };
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charAt(index);
    if (character === "\n") line += 1;
    if (
      depth === 1 &&
      start < 0 &&
      !inString &&
      !whitespace.test(character) &&
      character !== "," &&
      character !== "]"
    ) {
      start = index;
      startLine = line;
    }
    if (inString) {
      if (character === "\\") index += 1;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "[" || character === "{") depth += 1;
    else if (character === "]" || character === "}") {
      depth -= 1;
      if (depth === 0) {
        finish(index);
        return items;
      }
    } else if (character === "," && depth === 1) finish(index);
  }
  finish(text.length);
  return items;
};
