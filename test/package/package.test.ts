import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { packMilora } from "./pack.js";

let milora: Awaited<ReturnType<typeof packMilora>>;

beforeAll(async () => {
  milora = await packMilora();
});

afterAll(() => milora.remove());

const tool = (name: string): string => join(packageRoot, "node_modules", ".bin", name);

test("npm pack: all that a user needs and nothing else", async () => {
  const { files } = milora;
  const needed = [
    "LICENSE",
    "dist/index.js",
    "dist/index.d.ts",
    "dist/cli/main.js",
    "dist/bridge/environment/index.js",
    "docs/errors.md",
    "docs/guide.md",
    "examples/fine-tune.ts",
    "examples/python/load_and_generate.py",
    "py/milora/__init__.py",
    "py/pyproject.toml",
    "py/requirements.lock",
    "py/requirements-demo.lock",
    "py/requirements-dev.lock",
    "schemas/ops.json",
    "schemas/run.json",
  ];
  expect(needed.filter((path) => !files.includes(path))).toEqual([]);
  const expected =
    /^(dist|schemas|py\/milora|examples)\/|^docs\/.*\.md$|^py\/(pyproject\.toml|requirements[\w-]*\.lock)$|^(LICENSE|README\.md|CHANGELOG\.md|package\.json)$/u;
  expect(files.filter((path) => !expected.test(path) || /\.pyc$|__pycache__|\.test\./u.test(path))).toEqual([]);
});

test("the tarball is under 1 MB", () => {
  expect(statSync(milora.tarball).size).toBeLessThan(1e6);
});

test("publint finds nothing", async () => {
  const { tarball } = milora;
  const { stdout } = await execa(tool("publint"), ["run", tarball, "--strict"]);
  expect(stdout).toContain("All good");
});

test("types resolve under node10, node16 from ESM and from CommonJS, and bundlers", async () => {
  const { tarball } = milora;
  // CommonJS gets an ES module: require() of one works from Node 20.19 on, which is the oldest that engines allows.
  const { stdout } = await execa(tool("attw"), [
    tarball,
    "--ignore-rules",
    "cjs-resolves-to-esm",
    "--format",
    "ascii",
    "--no-emoji",
  ]);
  expect(stdout).not.toMatch(/resolution failed|false/iu);
});

const names = "console.log(JSON.stringify(Object.keys(milora).sort()))";

test("import and require give the same names; so there is no top-level await in the graph", async () => {
  const { project } = milora;
  const run = (args: readonly string[]) => execa("node", [...args], { cwd: project });
  const required = await run(["--input-type=commonjs", "-e", `const milora = require("milora"); ${names}`]);
  const imported = await run(["--input-type=module", "-e", `import * as milora from "milora"; ${names}`]);
  expect(required.stdout).toContain('"openMilora"');
  expect(JSON.parse(required.stdout).filter((name: string) => name !== "module.exports")).toEqual(
    JSON.parse(imported.stdout),
  );
});

test("the package has one way in, and its own package.json", async () => {
  const { project } = milora;
  const inside = await execa("node", ["-e", 'require("milora/dist/errors.js")'], { cwd: project, reject: false });
  expect(inside.stderr).toContain("ERR_PACKAGE_PATH_NOT_EXPORTED");
  const own = await execa("node", ["-p", 'require("milora/package.json").version'], { cwd: project });
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
  expect(own.stdout).toBe(version);
});

test("the installed program answers --help and --version without Python", async () => {
  const { project } = milora;
  const main = join(project, "node_modules", "milora", "dist", "cli", "main.js");
  const variables = { PATH: "/nowhere", HOME: project };
  const help = await execa(process.execPath, [main, "--help"], { env: variables, extendEnv: false });
  expect(help.stdout).toContain("train");
  const version = await execa(process.execPath, [main, "--version"], { env: variables, extendEnv: false });
  expect(version.stdout).toMatch(/^\d+\.\d+\.\d+$/u);
});
