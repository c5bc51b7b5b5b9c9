/** Runs dependency-cruiser over ts/ by .dependency-cruiser.cjs; fails also where the table or the cruise has a hole. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { listFiles, readText, root, stateFolder } from "./lib/paths.mjs";

const { forbidden } = createRequire(import.meta.url)("../.dependency-cruiser.cjs");
const layers = new Set(forbidden.flatMap(({ name }) => (name.startsWith("layer-") ? [name.slice(6)] : [])));
const problems = [];

const withoutLayer = readdirSync(`${root}/ts`)
  .map((name) => name.replace(/\.ts$/u, ""))
  .filter((name) => name !== "index" && !layers.has(name));
if (withoutLayer.length > 0) problems.push(`in no layer of .dependency-cruiser.cjs: ${withoutLayer.join(", ")}`);

// dependency-cruiser's visitor of swc's tree stops at `using`: it reads a copy in which that is `const`.
const files = listFiles(`${root}/ts`, ".ts");
const copy = join(stateFolder, "layers");
rmSync(copy, { recursive: true, force: true });
for (const file of files) {
  const text = readText(join(root, "ts", file)).replaceAll(/^(\s*)(?:await )?using (\w+) =/gmu, "$1const $2 =");
  mkdirSync(dirname(join(copy, "ts", file)), { recursive: true });
  writeFileSync(join(copy, "ts", file), text);
}

const program = `${root}/node_modules/dependency-cruiser/bin/dependency-cruise.mjs`;
const args = [program, "--config", join(root, ".dependency-cruiser.cjs"), "--output-type", "json", "ts"];
const cruise = spawnSync(process.execPath, args, { cwd: copy, encoding: "utf8", maxBuffer: 1 << 28 });
if (!cruise.stdout.startsWith("{")) {
  console.error(cruise.stderr || cruise.stdout);
  process.exit(1);
}
const { modules, summary } = JSON.parse(cruise.stdout);

// With TypeScript 7 alone dependency-cruiser finds no module and passes: every source must be among the cruised.
const cruised = new Set(modules.map(({ source }) => source));
const missed = files.filter((file) => !cruised.has(`ts/${file}`));
if (missed.length > 0) problems.push(`${missed.length} files of ts/ were not cruised, such as ts/${missed[0]}`);
const withImports = modules.some(({ source, dependencies }) => source.startsWith("ts/") && dependencies.length > 0);
if (!withImports) problems.push("no import was seen in any file of ts/");

for (const { rule, from, to } of summary.violations) problems.push(`${rule.name}: ${from} imports ${to}`);
for (const problem of problems) console.error(problem);
console.log(`${cruised.size} modules, ${summary.totalDependenciesCruised} imports, ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
