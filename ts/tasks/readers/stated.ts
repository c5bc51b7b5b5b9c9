import { oneLine } from "../../util/text.js";
import { withoutRunOn } from "./mentions.js";

/** What stands after the last "the answer is", up to the end of its line, without a full stop; null where nothing does. */
export const readStatedText = (output: string): string | null => {
  const text = withoutRunOn(output);
  const last = [...text.matchAll(/\banswer(?: is|:)(?!\w)/gi)].at(-1);
  if (last === undefined) return null;
  const [line = ""] = text.slice(last.index + last[0].length).split("\n");
  const stated = oneLine(line)
    .replace(/^:\s*/, "")
    .replace(/\s*\.$/, "");
  return stated === "" ? null : stated;
};
