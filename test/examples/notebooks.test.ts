import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { expect, it } from "vitest";
import { z } from "zod";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { ensureJupyter } from "../support/jupyter.js";
import { notebookProject } from "../support/notebook-project.js";

const notebooks = join(packageRoot, "examples", "notebooks");
const python = process.env["MILORA_PYTHON"] ?? "python3";
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

it("the notebooks run from the first cell to the last, and show what they promise", async (context) => {
  const jupyter = await ensureJupyter(python);
  if (typeof jupyter === "string") return context.skip(`no Jupyter: ${jupyter}`);
  const milora = await notebookProject();
  try {
    cpSync(notebooks, milora.project, { recursive: true });
    const fixture = join(packageRoot, "test", "fixtures", "python", "make_example_files.py");
    await execa(python, [fixture, milora.project]);
    const names = readdirSync(notebooks);
    const env = { ...jupyter.variables, MILORA_MODEL: join(milora.project, "model"), MILORA_STEPS: "4" };
    const args = ["--to", "notebook", "--execute", "--output-dir", "done", ...names];
    await execa(jupyter.nbconvert, args, { cwd: milora.project, env, timeout: 280_000 });
    const found = (name: string) => read(join(milora.project, "done", `${name}.ipynb`));

    const [figure, table] = [["application/vnd.vegalite.v5+json", "image/svg+xml", "text/plain"], ["text/html", "text/plain"]]; // prettier-ignore
    const first = found("first-steps");
    expect(first.text).toContain("python: here I am");
    expect(first.text).toMatch(/math domain error[^]*Traceback/);
    expect(first.shown).toEqual([table, figure, table]);
    const watched = found("watch-training");
    expect(watched.text).toContain("looked at once");
    expect(watched.shown).toEqual([figure, ["application/vnd.vegalite.v5+json"]]);
    expect(found("explore-routing").shown).toEqual([figure, figure, figure, table, figure]);
    expect(found("compare-methods").shown).toEqual([figure, figure, figure, table, table]);
  } finally {
    milora.remove();
  }
});
