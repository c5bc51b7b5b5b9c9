import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import * as milora from "../../ts/index.js";

/** The scripts of examples/ themselves, one after another in this process, on a tiny model. */
const folder = mkdtempSync(join(tmpdir(), "milora-examples-"));
const [model, lora] = [join(folder, "model"), join(folder, "lora")];
const home = process.cwd();
const [node = "", program = ""] = process.argv;
const printed: string[] = [];

beforeAll(async () => {
  const script = join(packageRoot, "test", "fixtures", "python", "make_example_files.py");
  await execa(process.env["MILORA_PYTHON"] ?? "python3", [script, folder], { timeout: 120_000 });
  // One Python serves all scripts: opening the same model again gives the same session, and closing waits for the end.
  const session = await milora.openMilora(
    { model, device: "cpu", dtype: "float32" },
    { onLog: ({ text }) => printed.push(`python: ${text}`) },
  );
  const close = session.close.bind(session);
  session.close = async () => {};
  vi.doMock("milora", () => ({ ...milora, openMilora: async () => session }));
  process.chdir(folder);
  vi.spyOn(process.stdout, "write").mockImplementation((text) => printed.push(String(text)) > 0);
  for (const name of ["log", "error"] as const) {
    vi.spyOn(console, name).mockImplementation((...values) => void printed.push(values.map(shown).join(" ")));
  }
  return close;
});

afterEach(() => {
  printed.length = 0;
  process.exitCode = undefined;
});

afterAll(() => {
  vi.restoreAllMocks();
  process.chdir(home);
  rmSync(folder, { recursive: true, force: true });
});

const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** Runs a script as `tsx` would, with these arguments, and gives what it printed. */
const run = async (name: string, ...args: readonly string[]): Promise<string> => {
  process.argv = [node, program, ...args];
  await import(join(packageRoot, "examples", `${name}.ts`));
  return printed.join("\n");
};

test("fine-tune", async () => {
  const text = await run("fine-tune", model, "3");
  expect(text).toMatch(/trains [\d]+ parameters, [1-9]\d* of them routers/);
  expect(text).toMatch(/step 3: dev perplexity \d+\.\d+/);
  expect(text).toMatch(/before: smart-home \d+ of 20\nafter: smart-home \d+ of 20/);
  expect(text).toMatch(/stopped by max-steps; the adapter is in .*runs/);
});

test("own-jsonl", async () => {
  const text = await run("own-jsonl", model);
  expect(text).toMatch(/8 steps; best dev perplexity \d+\.\d+ at step [48]/);
  expect(text).toMatch(/^answer: /m);
});

test("many-tenants", async () => {
  const text = await run("many-tenants", model);
  for (const name of ["kitchen", "hall", "base"]) expect(text).toMatch(new RegExp(`${name} \\(\\d+ tokens\\): `));
  expect(text).toMatch(/finished by (stop|length)/);
});

test("compare-methods", async () => {
  const text = await run("compare-methods", model, "2", "4");
  expect(text).toMatch(/method +lora, right +right +difference/);
  expect(text).toMatch(/\ndora .*inside the noise\nmilora .*inside the noise/);
});

test("custom-task", async () => {
  const text = await run("custom-task", model);
  expect(text).toMatch(/loglik: \d of 6, unparsed 0, chance 0.33/);
  expect(text).toMatch(/generate: \d of 6, unparsed \d/);
});

test("router-policy", async () => {
  const text = await run("router-policy", model, "2");
  expect(text).toMatch(/table: trains \d+, of which routers 0/);
  expect(text).toMatch(/table .* layer 0: q v\n/);
  const [, only] = /"topK":1.* layer 0: (\w+)\n/.exec(text) ?? [];
  expect(only).toMatch(/^\w+$/);
  expect(text).toContain(`kept for the next turn: ${only}`);
  expect(text).not.toMatch(/"masked":\["q","down"\].*\b(q|down)$/m);
});

test("python-rows", async () => {
  const text = await run("python-rows", model, "2");
  expect(text).toContain("python: making 40 rows");
  expect(text).toContain(String.raw`{"prompt":"Order: green tea (urgent)\nReply:","text":`);
  expect(text).toContain("ValueError: there is no product ''; there are green tea");
});

test("evaluate-adapter", async () => {
  const text = await run("evaluate-adapter", model, lora);
  expect(text).toMatch(/smart-home: base \d+, adapter \d+ right \(inside the noise/);
});
