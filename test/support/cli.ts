import { execa } from "execa";
import { join } from "node:path";
import { packageRoot } from "../../ts/bridge/environment/index.js";

/** The built program. */
export const programFile = join(packageRoot, "dist", "cli", "main.js");

export interface ProgramResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `milora` with arguments; never throws on a failing exit code. */
export const runProgram = async (
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>>; readonly timeout?: number } = {},
): Promise<ProgramResult> => {
  const { cwd = packageRoot, env = {}, timeout = 240_000 } = options;
  const { exitCode, stdout, stderr } = await execa("node", [programFile, ...args], {
    cwd,
    env,
    timeout,
    reject: false,
  });
  return { exitCode: exitCode ?? -1, stdout, stderr };
};

/** The JSON document that `milora … --json` prints, and nothing else may be there. */
export const jsonOf = (result: ProgramResult): unknown => JSON.parse(result.stdout);
