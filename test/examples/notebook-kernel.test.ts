import { join } from "node:path";
import { execa } from "execa";
import { beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { notebookProject } from "../support/notebook-project.js";
import { ensureJupyter } from "../support/jupyter.js";

const fixtures = join(packageRoot, "test", "fixtures", "python");

const output = z.object({
  type: z.enum(["stream", "display_data", "update_display_data"]),
  text: z.string(),
  data: z.record(z.string(), z.unknown()),
  display: z.string(),
});
const cellSchema = z.object({ status: z.string(), outputs: z.array(output) });
type Cell = z.output<typeof cellSchema>;

const code = {
  open: `import { display, openMilora, routingFigure, trainingFigure } from "milora";
const milora = await openMilora({ model: "model" });
const spec = { method: { kind: "milora", rank: 4 }, data: { task: "smart-home", limit: 64 } } as const;
const run = milora.train({ ...spec, train: { maxSteps: 5000, batchSize: 4, evalEvery: 1000, maxLength: 256 } });`,
  watch: "await display(run);",
  result: "const { stoppedBy, adapter } = await run.result; stoppedBy;",
  generate: `await milora.load("mine", adapter);
const [text] = await milora.generate([{ tenant: "mine", prompt: "Hello" }], { maxNewTokens: 3, explain: true });
text.newTokens;`,
  display: `display(routingFigure(text));
display(trainingFigure([]), { as: "svg" });
display([{ tokens: 3, name: "a <b>" }]);`,
  finish: `await display(milora.train({ ...spec, train: { maxSteps: 3, batchSize: 2, maxLength: 256 } }));`,
  print: `const builtins = await milora.python("builtins");
await builtins.print("printed in Python");
const warnings = await milora.python("warnings");
await warnings.warn("warned in Python");`,
  pythonError: `const json = await milora.python("json"); await json.loads("{");`,
  wrongField: `await milora.train({ ...spec, method: { kind: "milora", rank: 0 } }).result;`,
  after: `"alive";`,
} as const;

type Name = keyof typeof code;
let cells: ReadonlyMap<Name, Cell> | string = "it was not looked for";

beforeAll(async () => {
  const python = process.env["MILORA_PYTHON"] ?? "python3";
  const jupyter = await ensureJupyter(python);
  if (typeof jupyter === "string") {
    cells = jupyter;
    return;
  }
  const milora = await notebookProject();
  try {
    await execa(python, [join(fixtures, "make_example_files.py"), milora.project]);
    const input = Object.entries(code).map(([name, source]) => ({
      code: source,
      // The first picture of the curve is the moment to interrupt.
      ...(name === "watch" ? { interruptAt: "image/svg+xml" } : {}),
    }));
    const { stdout } = await execa(jupyter.python, [join(fixtures, "drive_kernel.py")], {
      cwd: milora.project,
      env: jupyter.variables,
      input: JSON.stringify(input),
      timeout: 400_000,
    });
    const found = z.array(cellSchema).length(input.length).parse(JSON.parse(stdout));
    const names: readonly Name[] = ["open", "watch", "result", "generate", "display", "finish", "print", "pythonError", "wrongField", "after"]; // prettier-ignore
    cells = new Map(names.flatMap((name, index) => (found[index] === undefined ? [] : [[name, found[index]]])));
  } finally {
    milora.remove();
  }
});

const cell = (context: { readonly skip: (note: string) => never }, name: Name): Cell => {
  if (typeof cells === "string") return context.skip(`no Jupyter: ${cells}`);
  const found = cells.get(name);
  if (found === undefined) throw new Error(`no cell ${name}`);
  return found;
};

const textOf = ({ outputs }: Cell): string => outputs.map(({ text }) => text).join("");
const mimesOf = ({ outputs }: Cell) => outputs.filter(({ type }) => type !== "stream").map(({ data }) => Object.keys(data)); // prettier-ignore

const [svg, vegaLite, html, plain] = ["image/svg+xml", "application/vnd.vegalite.v5+json", "text/html", "text/plain"];

it("an interrupt ends the cell; the run is saved, the kernel and the model live on", (context) => {
  expect(cell(context, "watch").status).toBe("error");
  expect(mimesOf(cell(context, "watch"))).toEqual([[svg]]);
  expect(textOf(cell(context, "watch"))).toContain("Interrupted");
  expect(textOf(cell(context, "watch"))).not.toContain("FutureWarning");
  expect(textOf(cell(context, "result"))).toContain("interrupted");
  expect(cell(context, "generate")).toMatchObject({ status: "ok", outputs: [{ text: expect.stringMatching(/^\d/) }] });
});

it("a curve is drawn in one place, which is updated, and in all forms at its end", (context) => {
  const shown = cell(context, "finish").outputs.filter(({ type }) => type !== "stream");
  expect(shown.map(({ type }) => type)).toEqual(shown.map((_, index) => (index === 0 ? "display_data" : "update_display_data"))); // prettier-ignore
  expect(shown.length).toBeGreaterThan(1);
  expect(new Set(shown.map(({ display }) => display)).size).toBe(1);
  expect(Object.keys(shown[0]?.data ?? {})).toEqual([svg]);
  expect(shown.at(-1)?.data).toMatchObject({
    [svg ?? ""]: expect.stringMatching(/^<svg [^]*training loss[^]*<\/svg>$/),
    [vegaLite ?? ""]: {
      data: { values: expect.arrayContaining([expect.objectContaining({ series: "training loss" })]) },
    },
    [plain ?? ""]: expect.stringContaining("training loss"),
  });
});

it("figures come as SVG, Vega-Lite and text, tables as HTML and text", (context) => {
  const shown = cell(context, "display");
  expect(mimesOf(shown)).toEqual([[svg, vegaLite, plain], [svg], [html, plain]]);
  expect(shown.outputs[2]?.data[html ?? ""]).toContain(">a &lt;b&gt;</td>");
});

it("what Python prints and warns of is in the cell", (context) => {
  expect(textOf(cell(context, "print"))).toMatch(/printed in Python[^]*warned in Python/);
});

it("an error has its message, cause and Python's traceback, and the kernel lives on", (context) => {
  const failed = cell(context, "pythonError");
  expect(failed.status).toBe("error");
  expect(textOf(failed)).toMatch(/JSONDecodeError: Expecting property name[^]*Traceback \(most recent call last\)/);
  expect(cell(context, "wrongField").status).toBe("error");
  expect(textOf(cell(context, "wrongField"))).toMatch(/rank[^]*input\/invalid-spec/);
  expect(textOf(cell(context, "after"))).toContain("alive");
});
