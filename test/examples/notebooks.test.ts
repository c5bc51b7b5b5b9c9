import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { expect, it } from "vitest";
import { z } from "zod";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { ensureJupyter } from "../support/jupyter.js";
import { notebookProject } from "../support/notebook-project.js";

const notebooks = join(packageRoot, "examples", "notebooks");
const python = process.env["MILORA_PYTHON"] ?? "python3";
const minutes = 60_000;
const outputSchema = z.object({
  text: z.union([z.string(), z.array(z.string()).transform((lines) => lines.join(""))]).default(""),
  data: z.record(z.string(), z.unknown()).default({}),
});
const notebookSchema = z.object({
  cells: z.array(z.object({ outputs: z.array(outputSchema).default([]) })),
});

/** What nbconvert made of a notebook: the text of its cells, and the mime types of each thing shown, by name. */
const read = (file: string) => {
  const outputs = notebookSchema.parse(JSON.parse(readFileSync(file, "utf8"))).cells.flatMap((cell) => cell.outputs);
  return {
    text: outputs.map(({ text }) => text).join(""),
    shown: outputs.flatMap(({ data }) => (Object.keys(data).length === 0 ? [] : [Object.keys(data).toSorted()])),
  };
};

/** A notebook as it stands, with a tiny model in place of the one that it opens. */
const withTinyModel = (name: string): string => {
  const text = readFileSync(join(notebooks, name), "utf8");
  const found = text.replace(String.raw`openMilora({ model: \"smollm2-135m\" })`, String.raw`openMilora({ model: \"model\" })`);
  expect(found).not.toBe(text);
  return found;
}; // prettier-ignore

it(
  "the notebooks run from the first cell to the last, and show what they promise",
  async (context) => {
    const jupyter = await ensureJupyter(python);
    if (typeof jupyter === "string") return context.skip(`no Jupyter: ${jupyter}`);
    const milora = await notebookProject();
    try {
      const fixture = join(packageRoot, "test", "fixtures", "python", "make_example_files.py");
      await execa(python, [fixture, milora.project]);
      const names = readdirSync(notebooks);
      for (const name of names) writeFileSync(join(milora.project, name), withTinyModel(name));
      const args = ["--to", "notebook", "--execute", "--output-dir", "done", ...names];
      await execa(jupyter.nbconvert, args, { cwd: milora.project, env: jupyter.variables, timeout: 14 * minutes });
      const found = (name: string) => read(join(milora.project, "done", `${name}.ipynb`));

      const [figure, table] = [["application/vnd.vegalite.v5+json", "image/svg+xml", "text/plain"], ["text/html", "text/plain"]]; // prettier-ignore
      const first = found("first-steps");
      expect(first.text).toMatch(/Python says hello[^]*Python warns/);
      expect(first.text).toMatch(/method\.rank[^]*PythonError[^]*math domain error[^]*Traceback/);
      expect(first.shown).toEqual([table, table, figure, table]);
      const watched = found("watch-training");
      expect(watched.text).toMatch(/dev perplexity \d[^]*stoppedBy: '(below 2|16 steps)'/);
      expect(watched.shown).toEqual([figure, table, figure]);
      expect(found("explore-routing").shown).toEqual([figure, figure, table, table, figure]);
      expect(found("compare-methods").shown).toEqual([figure, figure, figure, table, table]);
    } finally {
      milora.remove();
    }
  },
  15 * minutes,
);
