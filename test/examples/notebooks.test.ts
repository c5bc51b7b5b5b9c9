import { cpSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa, execaSync } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { packMilora } from "../package/pack.js";

/** The `jupyter` that has a tslab kernel; docs/notebooks.md says how to install them. */
const jupyter = process.env["MILORA_JUPYTER"] ?? "jupyter";
const kernels = execaSync(jupyter, ["kernelspec", "list", "--json"], { reject: false });
const hasTslab = kernels.exitCode === 0 && kernels.stdout.includes('"tslab"');
const note = hasTslab ? "" : " (skipped: no jupyter with a tslab kernel; MILORA_JUPYTER names one)";

const fixtures = join(packageRoot, "test", "fixtures", "python");
const notebooks = join(packageRoot, "examples", "notebooks");
const outputSchema = z.object({
  output_type: z.string(),
  text: z.union([z.string(), z.array(z.string()).transform((lines) => lines.join(""))]).default(""),
  data: z.record(z.string(), z.unknown()).default({}),
});
const notebookSchema = z.object({
  cells: z.array(z.object({ cell_type: z.string(), outputs: z.array(outputSchema).default([]) })),
});
const cellSchema = z.object({
  status: z.string(),
  outputs: z.array(z.object({ type: z.string(), text: z.string(), data: z.record(z.string(), z.unknown()) })),
});

describe.skipIf(!hasTslab)(`notebooks${note}`, () => {
  let milora: Awaited<ReturnType<typeof packMilora>>;
  const variables: Record<string, string> = {};

  beforeAll(async () => {
    milora = await packMilora();
    cpSync(notebooks, milora.project, { recursive: true });
    await execa(process.env["MILORA_PYTHON"] ?? "python3", [join(fixtures, "make_example_files.py"), milora.project]);
    Object.assign(variables, { MILORA_MODEL: join(milora.project, "model"), MILORA_STEPS: "4" });
  });
  afterAll(() => milora.remove());

  const cell = (code: string, interruptAt?: string) => ({
    code,
    ...(interruptAt === undefined ? {} : { interruptAt }),
  });

  it("run from the first cell to the last, and show what they promise", async () => {
    const names = readdirSync(notebooks);
    const args = ["nbconvert", "--to", "notebook", "--execute", "--output-dir", "done", ...names];
    await execa(jupyter, args, { cwd: milora.project, env: variables, timeout: 280_000 });
    const found = Object.fromEntries(
      names.map((name) => {
        const { cells } = notebookSchema.parse(JSON.parse(readFileSync(join(milora.project, "done", name), "utf8")));
        const outputs = cells.flatMap((each) => each.outputs);
        return [
          name.replace(".ipynb", ""),
          { text: outputs.map(({ text }) => text).join(""), mimes: outputs.flatMap(({ data }) => Object.keys(data)) },
        ];
      }),
    );
    expect(found["first-steps"]?.text).toContain("python: here I am");
    expect(found["first-steps"]?.text).toMatch(/math domain error[^]*Traceback/);
    const table = ["text/html", "text/plain"];
    const vegaLite = "application/vnd.vegalite.v5+json";
    const figure = ["image/svg+xml", vegaLite, "text/plain"];
    expect(found["first-steps"]?.mimes).toEqual([...table, ...figure, ...table]);
    expect(found["watch-training"]?.mimes).toEqual([...figure, vegaLite]);
    expect(found["watch-training"]?.text).toContain("looked at once");
    expect(found["explore-routing"]?.mimes).toEqual([...figure, ...figure, ...figure, ...table, ...figure]);
    expect(found["compare-methods"]?.mimes).toEqual([...figure, ...figure, ...figure, ...table, ...table]);
  });

  it("an interrupt stops the training, saved, and the kernel lives on; errors tell message and traceback", async () => {
    const cells = [
      cell(`import { display, openMilora } from "milora";
const milora = await openMilora({ model: process.env["MILORA_MODEL"] ?? "" });
const run = milora.train({ method: { kind: "milora", rank: 4 }, data: { task: "smart-home", limit: 64 },
  train: { maxSteps: 5000, batchSize: 4, evalEvery: 1000, maxLength: 256 } });`),
      cell("await display(run);", "image/svg+xml"),
      cell("await run.result;"),
      cell('const [text] = await milora.generate([{ prompt: "Hello" }], { maxNewTokens: 3 });\ntext.newTokens;'),
      cell('const math = await milora.python("math");\nawait math.sqrt(-1);'),
    ];
    const { stdout } = await execa(join(dirname(jupyter), "python"), [join(fixtures, "drive_kernel.py")], {
      cwd: milora.project,
      env: variables,
      input: JSON.stringify(cells),
      timeout: 280_000,
    });
    const [, watched, result, text, failed] = z.array(cellSchema).parse(JSON.parse(stdout));
    expect(watched?.status).toBe("error");
    expect(watched?.outputs[0]?.type).toBe("display_data");
    expect(result?.outputs.map((each) => each.text).join("")).toContain("stoppedBy: 'interrupted'");
    expect(text?.status).toBe("ok");
    expect(failed?.status).toBe("error");
    expect(failed?.outputs.map((each) => each.text).join("")).toMatch(
      /PythonError: [^]*math domain error[^]*python\/exception[^]*Traceback/,
    );
  });
});
