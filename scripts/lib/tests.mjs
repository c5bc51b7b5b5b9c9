import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { progress, readText, root } from "./paths.mjs";
import { run, runTool } from "./run.mjs";
import { ensureModules, ensurePython } from "./set-up.mjs";

const withoutLibraryFrames = (text) => text.replaceAll(/\n +at .*node_modules.*/gu, "");

/** A file's failures; one that failed outside its tests, while loading or in a hook, has one without a test's name. */
const failuresOfFile = ({ name, status, message, assertionResults }) => {
  const file = relative(root, name);
  const failed = assertionResults.filter((result) => result.status === "failed");
  if (failed.length === 0 && status === "failed") return [`FAILED ${file}\n${message}`];
  return failed.map(({ fullName, failureMessages }) =>
    withoutLibraryFrames(`FAILED ${file} > ${fullName}\n${failureMessages.join("\n")}`),
  );
};

const countVitest = (report) => {
  const { testResults, numPassedTests, numPendingTests, numTodoTests } = JSON.parse(report);
  const failures = testResults.flatMap(failuresOfFile);
  return { passed: numPassedTests, failed: failures.length, skipped: numPendingTests + numTodoTests, failures };
};

const countPytest = (report) => {
  const suite = /<testsuite [^>]*>/u.exec(report)?.[0] ?? "";
  const read = (name) => Number(new RegExp(` ${name}="(\\d+)"`, "u").exec(suite)?.[1] ?? 0);
  const failed = read("failures") + read("errors");
  return { passed: read("tests") - failed - read("skipped"), failed, skipped: read("skipped") };
};

/** Runs one test program and reads its report. A program that fails without a failed test counts as one failure. */
const counted = async (execute, reportFile, count) => {
  rmSync(reportFile, { force: true });
  const code = await execute();
  const report = readText(reportFile);
  const counts = report === undefined ? { passed: 0, failed: 0, skipped: 0 } : count(report);
  return { ...counts, failed: code !== 0 && counts.failed === 0 ? 1 : counts.failed };
};

export const vitest = (args, env) => runTool("vitest/vitest.mjs", ["run", ...args], { env, timeoutMs: 7_200_000 });

export const pytest = (python, args, { env = {}, ...options } = {}) =>
  run(python, ["-m", "pytest", "-c", "py/pyproject.toml", ...args], {
    env: { PYTHONPATH: "py", MILORA_PYTHON: python, ...env },
    timeoutMs: 7_200_000,
    ...options,
  });

export const runUnitTests = async (args) => {
  await ensureModules();
  return vitest(args);
};

const isPython = (name) => name.startsWith("test/py");

const vitestCounts = (folder, python, args, env = {}) => {
  const report = join(folder, "vitest.json");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  return counted(() => vitest([...reporters, ...args], { MILORA_PYTHON: python, ...env }), report, countVitest);
};

const pytestCounts = (folder, python, args, options) => {
  const report = join(folder, "pytest.xml");
  return counted(() => pytest(python, [`--junitxml=${report}`, ...args], options), report, countPytest);
};

/** Files whose tests measure time: they run while nothing else does. */
const timed = ".timed.test.ts";

/** Vitest and pytest at once, each on its share of the cores, then what is timed, then what pytest printed. */
const allCounts = async (folder, python) => {
  const file = join(folder, "pytest.txt");
  const output = openSync(file, "w");
  const env = { OMP_NUM_THREADS: String(Math.max(1, Math.floor(availableParallelism() / 2))) };
  progress("milora: pytest runs beside vitest; its output follows");
  try {
    const counts = await Promise.all([
      vitestCounts(folder, python, ["--exclude", `**/*${timed}`], env),
      pytestCounts(folder, python, [], { output, env }),
    ]);
    return [...counts, await vitestCounts(folder, python, [timed])];
  } finally {
    closeSync(output);
    process.stdout.write(readText(file) ?? "");
  }
};

/** All tests, or those that `args` name: paths under test/py go to pytest, everything else to vitest. */
export const runTests = async (args) => {
  const python = await ensurePython();
  const pythonArgs = args.filter(isPython);
  const vitestArgs = args.filter((name) => !isPython(name));
  const folder = mkdtempSync(join(tmpdir(), "milora-tests-"));
  try {
    const named = async () => [
      ...(vitestArgs.length > 0 ? [await vitestCounts(folder, python, vitestArgs)] : []),
      ...(pythonArgs.length > 0 ? [await pytestCounts(folder, python, pythonArgs)] : []),
    ];
    const counts = args.length === 0 ? await allCounts(folder, python) : await named();
    for (const failure of counts.flatMap(({ failures = [] }) => failures)) process.stdout.write(`${failure}\n`);
    const total = (key) => counts.reduce((sum, one) => sum + one[key], 0);
    process.stdout.write(`${total("passed")} passed, ${total("failed")} failed, ${total("skipped")} skipped\n`);
    return total("failed") === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
