import { findLabels } from "./choice.js";
import { isNegated, pickMention, withoutRunOn } from "./mentions.js";

const meanings: Readonly<Record<string, string>> = { true: "true", yes: "true", false: "false", no: "false" };

const opposite = (answer: string): string => (answer === "true" ? "false" : "true");

/** `true` or `false` as an output states it (yes and no too; "not true" is false); null where neither can be read. */
export const readBoolean = (output: string): "true" | "false" | null => {
  const text = withoutRunOn(output);
  const mentions = findLabels(text, Object.keys(meanings)).map((mention) => ({
    ...mention,
    answer: meanings[mention.answer] ?? mention.answer,
  }));
  const affirmed = pickMention(text, mentions);
  if (affirmed === "true" || affirmed === "false") return affirmed;
  const denied = mentions.filter((mention) => isNegated(text, mention.start)).map(({ answer }) => opposite(answer));
  if (denied.length !== mentions.length || new Set(denied).size !== 1) return null;
  return denied.at(0) === "true" ? "true" : "false";
};
