import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pruneDeclarations } from "./declarations.mjs";
import { withLock } from "./lock.mjs";
import { copyPageAssets, pageAssets } from "./page-assets.mjs";
import { hashOf, listFiles, progress, readText, root, stateFolder, writeAtomically } from "./paths.mjs";
import { run, runTool } from "./run.mjs";

const lockFile = join(stateFolder, "lock");
const modulesStamp = join(stateFolder, "modules");
const buildStamp = join(stateFolder, "build");

const readJson = (file) => JSON.parse(readText(join(root, file)) ?? "null");

const modulesKey = () =>
  hashOf([readText(join(root, "package-lock.json")), process.platform, process.arch, process.versions.modules]);

/** Every direct dependency has its folder; a few dozen stats, so that a second call costs nothing. */
const dependenciesExist = () => {
  const { dependencies, devDependencies } = readJson("package.json");
  return Object.keys({ ...dependencies, ...devDependencies }).every((name) =>
    existsSync(join(root, "node_modules", name, "package.json")),
  );
};

/** npm writes node_modules/.package-lock.json last: whole and equal to the lock, the install was complete. */
const installedByHand = () => {
  const installed = readJson("node_modules/.package-lock.json")?.packages;
  if (installed === undefined) return false;
  return Object.entries(readJson("package-lock.json").packages).every(
    ([path, { version, optional, integrity }]) =>
      path === "" ||
      optional === true ||
      (installed[path]?.version === version &&
        installed[path]?.integrity === integrity &&
        existsSync(join(root, path, "package.json"))),
  );
};

const modulesReady = () => readText(modulesStamp) === modulesKey() && dependenciesExist();

const installModules = async (holdWhile) => {
  if (modulesReady()) return;
  rmSync(modulesStamp, { force: true });
  if (!installedByHand()) {
    progress("milora: installing the Node packages (once; npm ci)");
    const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--include=dev"];
    const viaNpm = process.env.npm_execpath?.endsWith("npm-cli.js");
    const [command, ...first] = viaNpm ? [process.execPath, process.env.npm_execpath] : ["npm"];
    const code = await run(command, [...first, ...args], {
      quiet: true,
      label: "installing the Node packages",
      env: { NODE_ENV: "development" },
      onStart: holdWhile,
    });
    if (code !== 0) throw new SetUpError(`npm ci failed (exit code ${code}); its messages are above`, code);
  }
  writeAtomically(modulesStamp, modulesKey());
};

const sources = () => listFiles(join(root, "ts"), ".ts");

const buildKey = (files) =>
  hashOf([
    ...["tsconfig.json", "tsconfig.build.json", "package-lock.json", ...pageAssets()].map((file) =>
      readText(join(root, file)),
    ),
    ...files.flatMap((file) => [file, readText(join(root, "ts", file))]),
  ]);

const buildReady = (files) =>
  readText(buildStamp) === buildKey(files) &&
  files.every((file) => existsSync(join(root, "dist", file.replace(/\.ts$/u, ".js"))));

/** Declarations with their comments, then code without: what users read is in the declarations, and the package small. */
const passes = [
  ["--emitDeclarationOnly", "--sourceMap", "false"],
  ["--noCheck", "--declaration", "false", "--removeComments"],
];

/** The new dist is made beside the old one and swapped in, so that no one meets half of it. */
const build = async () => {
  const files = sources();
  if (buildReady(files)) return;
  const key = buildKey(files);
  rmSync(buildStamp, { force: true });
  for (const name of readdirSync(stateFolder)) {
    if (name.startsWith("dist-")) rmSync(join(stateFolder, name), { recursive: true, force: true });
  }
  progress("milora: compiling TypeScript");
  const beside = join(stateFolder, `dist-${process.pid}`);
  for (const pass of passes) {
    const args = ["-p", "tsconfig.build.json", "--outDir", beside, ...pass];
    const code = await runTool("typescript/bin/tsc", args, { quiet: true });
    if (code !== 0) throw new SetUpError("the TypeScript sources do not compile; tsc's messages are above", 1);
  }
  pruneDeclarations(beside);
  copyPageAssets(beside);
  const dist = join(root, "dist");
  if (existsSync(dist)) renameSync(dist, `${beside}-old`);
  renameSync(beside, dist);
  writeAtomically(buildStamp, key);
  rmSync(`${beside}-old`, { recursive: true, force: true });
};

/** The set-up failed for a reason that its message tells; `exitCode` is the program's. */
export class SetUpError extends Error {
  constructor(message, exitCode) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Node packages as package-lock.json says. */
export const ensureModules = async () => {
  if (!modulesReady()) await withLock(lockFile, installModules);
};

/** Node packages, and dist/ as ts/ says. */
export const ensureBuild = async () => {
  if (modulesReady() && buildReady(sources())) return;
  await withLock(lockFile, async (holdWhile) => {
    await installModules(holdWhile);
    await build();
  });
};

/** Node packages, dist/, and the Python environment with the demo model and the tools for tests; its interpreter. */
export const ensurePython = async () => {
  await ensureBuild();
  const { ensureEnvironment } = await import(join(root, "dist", "bridge", "environment", "index.js"));
  const { python } = await ensureEnvironment({
    extras: ["demo", "dev"],
    onProgress: ({ message, elapsedSeconds }) => progress(`milora: ${message} (${Math.round(elapsedSeconds)} s)`),
  });
  return python;
};
