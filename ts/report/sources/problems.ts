import { MiloraError } from "../../errors.js";
import { systemErrorCode } from "../../util/files.js";
import type { ReportProblem } from "../report-model.js";
import { oneLine } from "../../util/text.js";

/** Notes what could not be read of one place, and goes on. */
export interface ProblemList {
  readonly add: (place: string, problem: string) => void;
  /** What the function gives; nothing where it fails, which is noted. */
  readonly attempt: <Value>(place: string, read: () => Promise<Value>) => Promise<Value | undefined>;
  readonly all: () => readonly ReportProblem[];
}

/** An error in one line; what is no error of reading or parsing is a defect and thrown on. */
const reasonOf = (error: unknown): string => {
  const isExpected =
    MiloraError.isInstance(error) || error instanceof SyntaxError || systemErrorCode(error) !== undefined;
  if (!isExpected || !(error instanceof Error)) throw error;
  return oneLine(error.message);
};

export const createProblems = (): ProblemList => {
  const problems: ReportProblem[] = [];
  const add = (place: string, problem: string): void => {
    problems.push({ place, problem });
  };
  return {
    add,
    attempt: async (place, read) => {
      try {
        return await read();
      } catch (error) {
        add(place, reasonOf(error));
        return undefined;
      }
    },
    all: () => problems,
  };
};
