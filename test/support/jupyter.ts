import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { withLock } from "../../ts/bridge/environment/lock.js";
import { miloraHome, shortHash } from "../../ts/bridge/environment/paths.js";

/** A Jupyter with a tslab kernel, apart from any that the machine has. */
export interface Jupyter {
  readonly python: string;
  readonly nbconvert: string;
  /** Where its settings and sockets go. */
  readonly variables: Readonly<Record<string, string>>;
}

const pins = join(packageRoot, "test", "support", "jupyter");
const unreachable =
  /ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENOTCACHED|NewConnectionError|NameResolutionError|ConnectTimeout/;
const minutes = 60_000;

/** Bounded in time; the reason where the registries cannot be reached or are too slow, undefined where all went well. */
const install = async (program: string, args: readonly string[], cwd: string): Promise<string | undefined> => {
  const result = await execa(program, [...args], { cwd, reject: false, timeout: 4 * minutes, stdin: "ignore" });
  if (!result.failed) return undefined;
  const what = [program, ...args].join(" ");
  if (result.timedOut) return `${what} took more than four minutes`;
  if (unreachable.test(result.stderr + result.stdout)) return `${what} cannot reach its registry`;
  throw new Error(`${what} failed: ${result.stderr}`);
};

const make = async (base: string, folder: string): Promise<string | undefined> => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) cpSync(join(pins, name), join(folder, name));
  const venv = join(folder, "venv");
  const quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1"];
  const failed =
    (await install("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"], folder)) ??
    (await install(base, ["-m", "venv", "--without-pip", venv], folder)) ??
    (await install(
      base,
      [
        "-m",
        "pip",
        "--python",
        join(venv, "bin", "python"),
        "install",
        ...quiet,
        "-r",
        join(pins, "requirements.lock"),
      ],
      folder,
    ));
  if (failed !== undefined) return failed;
  const kernel = join(venv, "share", "jupyter", "kernels", "tslab");
  mkdirSync(kernel, { recursive: true });
  const program = join(folder, "node_modules", "tslab", "bin", "tslab");
  const argv = [process.execPath, program, "kernel", "--config-path", "{connection_file}"];
  writeFileSync(
    join(kernel, "kernel.json"),
    JSON.stringify({ argv, display_name: "TypeScript", language: "typescript" }),
  );
  writeFileSync(join(folder, "ready"), "");
  return undefined;
};

/**
 * The Jupyter of the notebooks' tests, with the pinned packages of test/support/jupyter, made once in milora's cache
 * folder. A text says why there is none on a machine that reaches no registry.
 */
export const ensureJupyter = async (base: string): Promise<Jupyter | string> => {
  const files = ["package-lock.json", "requirements.lock"].map((name) => readFileSync(join(pins, name), "utf8"));
  const folder = join(miloraHome(), `jupyter-${shortHash(...files, base, process.execPath)}`);
  const failed = await withLock(`${folder}.lock`, () =>
    existsSync(join(folder, "ready")) ? Promise.resolve(undefined) : make(base, folder),
  );
  if (failed !== undefined) return failed;
  const bin = join(folder, "venv", "bin");
  return {
    python: join(bin, "python"),
    nbconvert: join(bin, "jupyter-nbconvert"),
    variables: {
      JUPYTER_CONFIG_DIR: join(folder, "config"),
      JUPYTER_DATA_DIR: join(folder, "data"),
      JUPYTER_RUNTIME_DIR: join(folder, "runtime"),
    },
  };
};
