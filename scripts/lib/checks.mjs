import { run, runTool } from "./run.mjs";
import { ensurePython } from "./set-up.mjs";

const script = (file, ...args) => run(process.execPath, [`scripts/${file}`, ...args]);
const typedScript = (file, ...args) => runTool("tsx/dist/cli.mjs", [`scripts/${file}`, ...args]);
const codeFolders = ["ts", "test", "scripts"];

/** Runs every command, also after one failed, so that one call shows all problems; 0 where all passed. */
const all = async (commands) => {
  let code = 0;
  for (const command of commands) code = (await command()) || code;
  return code;
};

const python = async () => {
  const interpreter = await ensurePython();
  const module = (name, ...args) => run(interpreter, ["-m", name, ...args], { env: { PYTHONPATH: "py" } });
  const paths = ["py", "test/py", "--config", "py/pyproject.toml"];
  return all([
    () => module("ruff", "format", "--check", ...paths),
    () => module("ruff", "check", ...paths),
    () => module("basedpyright", "--project", "py/pyproject.toml", "--pythonpath", interpreter),
    () =>
      run(
        interpreter,
        ["-c", "from importlinter.cli import lint_imports_command as run; run()", "py/pyproject.toml", "--no-cache"],
        { env: { PYTHONPATH: "py" } },
      ),
  ]);
};

/** Name → check; each resolves to an exit code. In the order in which they are worth reading. */
export const checks = {
  format: () => runTool("oxfmt/bin/oxfmt", ["--check", "."]),
  lint: () => runTool("oxlint/bin/oxlint", ["--type-aware", "--deny-warnings", ...codeFolders]),
  types: () => runTool("typescript/bin/tsc", ["--noEmit", "-p", "tsconfig.json"]),
  schemas: () => typedScript("schemas.ts", "--check"),
  layers: () => script("check-layers.mjs"),
  "dead-code": () => runTool("knip/bin/knip.js", []),
  sizes: () => script("check-sizes.mjs"),
  docs: async () => (await import("./docs.mjs")).checkReference(),
  environment: () => typedScript("python-requirements.ts", "--check"),
  python,
};

export const format = async () => {
  const interpreter = await ensurePython();
  return all([
    () => runTool("oxfmt/bin/oxfmt", ["."]),
    () => run(interpreter, ["-m", "ruff", "check", "--fix", "py", "test/py", "--config", "py/pyproject.toml"]),
    () => run(interpreter, ["-m", "ruff", "format", "py", "test/py", "--config", "py/pyproject.toml"]),
  ]);
};

/** Runs the named checks (all by default) and says at the end which failed. */
export const runChecks = async (names) => {
  const wanted = names.length === 0 ? Object.keys(checks) : names;
  const failed = [];
  for (const name of wanted) {
    if (checks[name] === undefined)
      throw new Error(`unknown check "${name}"; there are: ${Object.keys(checks).join(", ")}`);
    const started = Date.now();
    const code = await checks[name]();
    process.stdout.write(
      `${code === 0 ? "passed" : "FAILED"}  ${name}  ${((Date.now() - started) / 1000).toFixed(1)} s\n`,
    );
    if (code !== 0) failed.push(name);
  }
  if (failed.length > 0) process.stdout.write(`checks failed: ${failed.join(", ")}\n`);
  return failed.length === 0 ? 0 : 1;
};
