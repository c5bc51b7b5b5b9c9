/**
 * The package as a stranger meets it: from the tarball, in an empty project with a home of its own and empty caches of
 * npm and pip, to trained adapters; then the Python package alone, with no Node on the path; then environment.yml's list.
 * Prints what was typed and what came back, as docs/results/package.md. Takes a gigabyte of disk and half an hour.
 *
 * `tsx scripts/package-trial.ts [--keep] > docs/results/package.md`
 *
 * `--keep`: the folder stays, and is named on stderr.
 */
import { copyFileSync, rmSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { parse } from "yaml";
import { z } from "zod";
import { packageRoot } from "../ts/bridge/environment/index.js";
import { createCleanHome, type Done } from "./lib/package-trial/clean-home.js";
import { packTarball } from "./lib/package-trial/pack.js";
import { commonJsScript, rowFile, snippet, typedScript } from "./lib/package-trial/files.js";

const { values } = parseArgs({ options: { keep: { type: "boolean", default: false } } });
const clean = createCleanHome();
const { project, run, megabytes } = clean;
let failed = 0;

const tell = (line: string): void => void process.stdout.write(`${line}\n`);

/** The last lines are what a user would look at. */
const shown = ({ command, text, seconds, exitCode }: Done, lines: number): string => {
  const all = text.split("\n").filter((line) => line.trim() !== "");
  const left = all.length > lines ? [`… ${all.length - lines} lines`, ...all.slice(-lines)] : all;
  const code = exitCode === 0 ? "" : `, exit code ${exitCode}`;
  return ["```", `$ ${command}`, ...left, `(${seconds.toFixed(1)} s${code})`, "```", ""].join("\n");
};

/** Runs and shows commands, one after another. */
const show = async (
  title: string,
  commands: readonly string[],
  options: { readonly path?: string; readonly lines?: number } = {},
): Promise<void> => {
  tell(`## ${title}\n`);
  for (const command of commands) {
    const done = await run(command, options);
    if (done.exitCode !== 0) failed += 1;
    tell(shown(done, options.lines ?? 12));
  }
};

const environmentSchema = z.object({
  dependencies: z.array(z.union([z.string(), z.object({ pip: z.array(z.string()) })])),
});

/** What conda would hand to pip; what it would install itself is Python and pip. */
const pipList = (): readonly string[] =>
  environmentSchema
    .parse(parse(readFileSync(join(packageRoot, "environment.yml"), "utf8")))
    .dependencies.flatMap((entry) => (typeof entry === "string" ? [] : entry.pip));

const writeFiles = (): void => {
  writeFileSync(join(project, "train.ts"), snippet("train.ts"));
  writeFileSync(join(project, "pipeline.py"), snippet("pipeline.py"));
  writeFileSync(join(project, "train.jsonl"), rowFile(0, 60));
  writeFileSync(join(project, "dev.jsonl"), rowFile(60, 68));
  writeFileSync(join(project, "count.cjs"), commonJsScript);
  writeFileSync(join(project, "typed.ts"), typedScript);
};

const trial = async (): Promise<void> => {
  const tarball = await packTarball(packageRoot, clean.folder);
  copyFileSync(tarball.file, join(project, basename(tarball.file)));
  tell("# The package in an empty project\n");
  tell(
    `By \`npx tsx scripts/package-trial.ts\`: ${tarball.megabytes.toFixed(3)} MB of tarball, ${tarball.files.length} files.\n`,
  );
  writeFiles();
  await show("Install", [
    "node --version && python3 --version && ls -A ~",
    "npm init --yes >/dev/null && npm pkg set type=module",
    `npm install ./${basename(tarball.file)}`,
  ]);
  tell(`node_modules: ${megabytes("project", "node_modules").toFixed(1)} MB of files, without Python.\n`);
  await show("Set up", ["npx milora setup", "npx milora doctor"]);
  await show("The README's script, under tsx", ["npx tsx train.ts"]);
  await show("The program with the script's adapter", [
    'npx milora generate --model smollm2-135m --adapter mine=my-run/adapter --tenant mine --prompt "$(printf "Question: What follows 7?\\nAnswer:")" --max-new-tokens 4',
  ]);
  await show("CommonJS", ["node count.cjs"]);
  const old = "--target es2022 --module commonjs --moduleResolution node";
  const now = "--ignoreConfig --target es2022 --module nodenext";
  const common = "--noEmit --strict --skipLibCheck --types node typed.ts";
  await show("Types under TypeScript 5.0 (tslab's) and 7", [
    "npm install --no-save typescript@5.0.4 @types/node@18.19.130",
    `npx tsc --version && npx tsc ${old} ${common}`,
    "npm install --no-save typescript@7.0.2 @types/node@20.19.43",
    `npx tsc --version && npx tsc ${now} ${common}`,
  ]);
  await show("Python alone: the wheel in a new virtual environment", [
    "python3 -m venv venv && venv/bin/pip wheel --quiet --no-deps --wheel-dir . ./node_modules/milora/py && ls *.whl",
    "venv/bin/pip install ./*.whl | tail -n 1 | tr ' ' '\\n' | grep -E '^(milora|peft|torch|transformers)-'",
  ]);
  await show(
    "… with no Node on the path",
    [
      'command -v node || echo "no node"',
      'python -c \'import importlib.resources as r, milora; print(sorted(p.name for p in r.files("milora").joinpath("schemas").iterdir())[:4])\'',
      "HF_HUB_OFFLINE=1 python pipeline.py",
    ].map((line) => line.replace("command -v", "type")),
    { path: "venv/bin" },
  );
  await show("environment.yml: its pip list in a new virtual environment", [
    `python3 -m venv conda-list && conda-list/bin/pip install --quiet ${pipList()
      .map((entry) => `"${entry}"`)
      .join(" ")}`,
    "conda-list/bin/pip check && conda-list/bin/pip list | grep -E '^(torch|transformers|peft) '",
  ]);
  await show("Quickstart", ["npx milora quickstart --out runs/quickstart"], { lines: 24 });
  const sizes = ["milora", "pip", "npm"].map((name) => `${name} ${megabytes("home", name).toFixed(0)} MB`);
  tell(`In the home afterwards: ${sizes.join(", ")}.`);
};

try {
  await trial();
} finally {
  if (values.keep) process.stderr.write(`${clean.folder}\n`);
  else rmSync(clean.folder, { recursive: true, force: true });
}
process.exitCode = failed === 0 ? 0 : 1;
