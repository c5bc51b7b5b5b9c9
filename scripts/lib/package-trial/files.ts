import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../../ts/bridge/environment/index.js";

/** The code under `<!-- snippet: name -->` in the README. */
export const snippet = (name: string): string => {
  const [, after = ""] = readFileSync(join(packageRoot, "README.md"), "utf8").split(`<!-- snippet: ${name} -->`);
  const [, code] = /```\w+\n([\s\S]*?)```/u.exec(after) ?? [];
  if (code === undefined) throw new Error(`README.md has no snippet ${name}`);
  return code;
};

/** Rows of a task that a small model learns in a few steps. */
export const rowFile = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, index) => {
    const number = from + index;
    return `${JSON.stringify({ prompt: `Question: What follows ${number}?\nAnswer:`, answer: ` ${number + 1}` })}\n`;
  }).join("");

/** A script that must compile but for its marked line. */
export const typedScript = `import { display, errorCodes, openMilora, type MethodInput, type OpenOptions } from "milora";
const method: MethodInput = { kind: "milora", rank: 8 };
// @ts-expect-error: a wrong field is told by the compiler
const wrong: MethodInput = { kind: "milora", ranc: 8 };
const adapterOf = async (model: string): Promise<string> => {
  const options: OpenOptions = { model };
  const milora = await openMilora(options);
  return (await milora.train({ method, data: { train: "rows.jsonl" } }).result).adapter;
};
display([{ codes: errorCodes.length > 20, kind: method.kind, wrong: wrong.kind, make: typeof adapterOf }]);
`;

/** CommonJS, as older projects have it. */
export const commonJsScript = `const { openMilora } = require("milora");
openMilora({ model: "smollm2-135m" }).then(async (milora) => {
  const { trainable } = await milora.params({ kind: "milora", rank: 8, topK: 3 });
  console.log("trainable:", trainable);
  await milora.close();
});
`;
