import { oneLine } from "../../util/text.js";
import { withoutRunOn } from "./mentions.js";

const simplified = (text: string): string =>
  oneLine(text)
    .toLowerCase()
    .replace(/[.!]{1,10}$/, "");

/**
 * Index of the choice whose text the output is, whole or its first line, but for white space; where none is, but for
 * case and a full stop too ("AA" and "aa" may both be choices). −1 where there is none.
 */
export const readChoiceText = (output: string, choices: readonly string[]): number => {
  const text = withoutRunOn(output).trim();
  const [firstLine = ""] = text.split("\n");
  for (const form of [oneLine, simplified]) {
    const written = [form(text), form(firstLine)];
    const index = choices.findIndex((choice) => written.includes(form(choice)));
    if (index >= 0) return index;
  }
  return -1;
};
