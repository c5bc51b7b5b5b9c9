import { existsSync, mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { execa } from "execa";
import { folderBytes } from "./folder-bytes.js";

/** What a command printed and what it took. */
export interface Done {
  readonly command: string;
  readonly text: string;
  readonly seconds: number;
  readonly exitCode: number | undefined;
}

/** A user who has nothing yet: an empty project and a home of its own, with empty caches of npm, pip and milora. */
export interface CleanHome {
  readonly project: string;
  /** Runs a line of a shell in the project. `path`: a PATH of its own, below the project. */
  readonly run: (command: string, options?: { readonly path?: string }) => Promise<Done>;
  /** Megabytes of all files in a folder of the home; 0 where it was not made, as a cache that nothing was put into. */
  readonly megabytes: (...path: readonly string[]) => number;
}

/** What would lead to this machine's own Python, caches or models. */
const forgotten = /^(MILORA_|npm_|NODE_|VIRTUAL_ENV|CONDA_|PYTHON|PYENV_VERSION|HF_|TRANSFORMERS_|XDG_|TSX_)/u;

const variables = (): Record<string, string> => {
  const kept = Object.entries(process.env).filter(([name]) => !forgotten.test(name));
  // `npx` and `npm run` put the checkout's programs first in the PATH.
  const path = (process.env["PATH"] ?? "").split(":").filter((entry) => !entry.includes("node_modules"));
  return { ...Object.fromEntries(kept.map(([name, value = ""]) => [name, value])), PATH: path.join(":") };
};

/** Makes the home in a new temporary folder. Its user's files stay, to be looked at; the caller removes `folder`. */
export const createCleanHome = (): CleanHome & { readonly folder: string } => {
  const folder = mkdtempSync(join(tmpdir(), "milora-clean-"));
  const [home, project] = [join(folder, "home"), join(folder, "project")];
  for (const made of [home, project]) mkdirSync(made);
  const own = {
    HOME: home,
    MILORA_HOME: join(home, "milora"),
    PIP_CACHE_DIR: join(home, "pip"),
    npm_config_cache: join(home, "npm"),
    CI: "true",
  };
  return {
    folder,
    project,
    megabytes: (...path) => {
      const place = join(folder, ...path);
      return existsSync(place) ? folderBytes(place) / 1e6 : 0;
    },
    run: async (command, { path } = {}) => {
      const started = performance.now();
      const env = { ...variables(), ...own, ...(path === undefined ? {} : { PATH: join(project, path) }) };
      const { all, exitCode } = await execa("/bin/sh", ["-c", command], {
        cwd: project,
        env,
        extendEnv: false,
        all: true,
        reject: false,
        timeout: 3_600_000,
      });
      const text = stripVTControlCharacters(all)
        .replaceAll(home, "~")
        .replaceAll(project, ".")
        .replaceAll(/https?:\/\/\S+/gu, "…")
        .replaceAll(/^.*\r(?!$)/gmu, "");
      return { command, text, seconds: (performance.now() - started) / 1000, exitCode };
    },
  };
};
