import { inspectEnvironment } from "../../client/environment.js";
import { printResult, type CommandContext } from "../output.js";

/** `milora doctor`: every check with what to do; exit code 1 where one failed. */
export const doctor = async (context: CommandContext): Promise<number> => {
  const { ok, python, device, checks } = await inspectEnvironment({ signal: context.signal });
  const result = { ok, python: python?.python ?? null, device, checks };
  printResult(context, result, () =>
    checks.map((check) => `${check.ok ? "ok   " : "FAIL "} ${check.name}: ${check.detail}`),
  );
  return ok ? 0 : 1;
};
