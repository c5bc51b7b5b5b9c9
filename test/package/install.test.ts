import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { typedScript } from "../../scripts/lib/package-trial/files.js";
import { folderBytes } from "../../scripts/lib/package-trial/folder-bytes.js";
import { packMilora } from "./pack.js";

/** An empty project, far from the checkout, into which the tarball is installed with what it depends on. */
const project = mkdtempSync(join(tmpdir(), "milora-install-"));
const bytesOfInstall: number[] = [];
let unreachable = "";

const npmInstall = (...packages: readonly string[]) =>
  execa("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", ...packages], {
    cwd: project,
    timeout: 240_000,
    reject: false,
  });

beforeAll(async () => {
  const milora = await packMilora();
  try {
    writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true }));
    for (const name of ["script.ts", "script.mts"]) writeFileSync(join(project, name), typedScript);
    const installed = await npmInstall(milora.tarball);
    bytesOfInstall.push(folderBytes(join(project, "node_modules")));
    const others = await npmInstall("--no-save", milora.tarball, "typescript@5.0.4", "@types/node@18.19.130");
    unreachable = [installed, others].map(({ exitCode, stderr }) => (exitCode === 0 ? "" : stderr)).join("");
    if (unreachable !== "" && !/ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENOTCACHED/.test(unreachable)) throw new Error(unreachable);
  } finally {
    milora.remove();
  }
}); // prettier-ignore

afterAll(() => rmSync(project, { recursive: true, force: true }));

const network = (context: { readonly skip: (note: string) => void }): void => {
  if (unreachable !== "") context.skip("npm cannot reach its registry");
};

test("the install without Python is under 60 MB, all that it depends on included", (context) => {
  network(context);
  expect(bytesOfInstall[0]).toBeGreaterThan(1e6);
  expect(bytesOfInstall[0]).toBeLessThan(60e6);
});

test("a script under tsx, and a CommonJS require, with nothing else installed", async (context) => {
  network(context);
  const tsx = await execa("npx", ["--no-install", "tsx", "script.mts"], { cwd: project });
  expect(tsx.stdout).toMatch(/^codes +kind +wrong +make\ntrue +milora +milora +function$/);
  const required = await execa("node", ["-p", 'typeof require("milora").openMilora'], { cwd: project });
  expect(required.stdout).toBe("function");
  const program = await execa(join(project, "node_modules", ".bin", "milora"), ["--version"]);
  expect(program.stdout).toMatch(/^\d+\.\d+\.\d+$/u);
});

test("types under TypeScript 5.0 as tslab has it, and under 7", async (context) => {
  network(context);
  const strict = ["--noEmit", "--strict", "--types", "node"];
  const common = [...strict, "--skipLibCheck"];
  const old = ["node_modules/typescript/bin/tsc", "--target", "es2022", "--module", "commonjs"];
  await execa("node", [...old, "--moduleResolution", "node", ...common, "script.ts"], { cwd: project });
  // Every declaration that index.d.ts reaches is checked too; those of zod do not all pass under 5.0.
  const all = await execa("node", [...old, "--moduleResolution", "node", ...strict, "script.ts"], { cwd: project, reject: false }); // prettier-ignore
  expect(all.stdout).toContain("node_modules/zod/");
  expect(all.stdout.split("\n").filter((line) => line.includes("node_modules/milora/"))).toEqual([]);
  const compiler = join(packageRoot, "node_modules", "typescript", "bin", "tsc");
  const now = ["--ignoreConfig", "--target", "es2022", "--module", "nodenext"];
  await execa("node", [compiler, ...now, ...common, "script.ts", "script.mts"], { cwd: project });
});
