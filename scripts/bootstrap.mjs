/**
 * What every `npm run` command goes through: plain Node with no packages, so that it works in a fresh clone. It makes
 * what the command needs (Node packages, dist/, the Python environment), then runs the command. It prints to stderr
 * only; stdout belongs to the command.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { progress, root } from "./lib/paths.mjs";

const minimumNode = [20, 19];
const setUp = () => import("./lib/set-up.mjs");

/** The program runs in this very process: its exit code, signals and streams are the user's. */
const milora = async (args) => {
  await (await setUp()).ensureBuild();
  const main = join(root, "dist", "cli", "main.js");
  process.argv = [process.argv[0], main, ...args];
  await import(pathToFileURL(main).href);
};

const commands = {
  milora,
  build: async () => (await setUp()).ensureBuild(),
  test: async (args) => (await import("./lib/tests.mjs")).runTests(args),
  vitest: async (args) => (await import("./lib/tests.mjs")).runUnitTests(args),
  pytest: async (args) => {
    const python = await (await setUp()).ensurePython();
    return (await import("./lib/tests.mjs")).pytest(python, args);
  },
  check: async (args) => {
    await (await setUp()).ensureModules();
    return (await import("./lib/checks.mjs")).runChecks(args);
  },
  docs: async () => {
    await (await setUp()).ensureModules();
    return (await import("./lib/docs.mjs")).buildDocs();
  },
  format: async () => (await import("./lib/checks.mjs")).format(),
  /** A typed script of scripts/, with its arguments. */
  script: async ([file, ...args]) => {
    await (await setUp()).ensureModules();
    return (await import("./lib/run.mjs")).runTool("tsx/dist/cli.mjs", [`scripts/${file}`, ...args]);
  },
};

const nodeIsOldEnough = () => {
  const [major, minor] = process.versions.node.split(".").map(Number);
  return major > minimumNode[0] || (major === minimumNode[0] && minor >= minimumNode[1]);
};

const main = async ([name, ...args]) => {
  if (!nodeIsOldEnough()) {
    progress(`milora needs Node ${minimumNode.join(".")} or newer; this is ${process.versions.node}`);
    return 1;
  }
  const command = commands[name];
  if (command === undefined) {
    progress(`unknown command "${name}"; there are: ${Object.keys(commands).join(", ")}`);
    return 2;
  }
  return command(args);
};

try {
  const code = await main(process.argv.slice(2));
  if (code !== undefined && code !== 0) process.exitCode = code;
} catch (error) {
  progress(error.exitCode === undefined && error.code === undefined ? error.stack : `milora: ${error.message}`);
  if (error.hint !== undefined) progress(`       ${error.hint}`);
  process.exitCode = error.exitCode ?? 1;
}
