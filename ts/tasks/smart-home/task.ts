import { canonicalJson, readJsonList } from "../readers/json.js";
import { checkSplit, type Rendered, type Task } from "../task.js";
import { generateSmartHome, type SmartHomeExample } from "./generate.js";

/** Rows of a split where the caller names no number. */
const defaultRows = { train: 2400, test: 200 } as const;

const render = (request: string, calls: string): Rendered => ({
  prompt: `Request: ${request}\nCalls:`,
  answer: ` ${calls}`,
});

/**
 * The quickstart's task: a request in English → the JSON calls of a small smart-home API that carry it out. Scored by
 * exact match of the parsed calls; the order of keys and white space do not count, the order of calls does.
 */
export const smartHome: Task<SmartHomeExample> = {
  name: "smart-home",
  version: 1,
  license: "Apache-2.0",
  origin: "milora's own grammar",
  templates: ["calls"],
  splits: ["train", "test"],
  scorers: ["generate"],
  chance: 0,
  labels: [],
  metric: "exact-match",
  maxNewTokens: 64,
  load: ({ split, rows, seed = 0 }) => {
    checkSplit(smartHome, split);
    const side = split === "test" ? "test" : "train";
    return Promise.resolve(generateSmartHome({ split: side, rows: rows ?? defaultRows[side], seed }));
  },
  render: ({ request, calls }) => render(request, JSON.stringify(calls)),
  read: (output) => ({ answer: readJsonList(output) }),
  readOutput: (output) => ({ answer: readJsonList(output) }),
  correct: ({ calls }) => canonicalJson(calls),
  templateSource: () => JSON.stringify(render("{request}", "{calls}")),
};
