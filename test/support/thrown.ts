import { expect } from "vitest";
import { type ErrorCode, MiloraError } from "../../ts/errors.js";

const asMiloraError = (error: unknown, code: ErrorCode): MiloraError => {
  if (!(error instanceof MiloraError)) throw new Error("expected a MiloraError", { cause: error });
  expect(error.code).toBe(code);
  return error;
};

/** The MiloraError that a promise rejects with; fails where it resolves or the code is another. */
export const rejectionOf = async (promise: Promise<unknown>, code: ErrorCode): Promise<MiloraError> => {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  if (outcome === undefined) throw new Error(`expected a rejection with ${code}`);
  return asMiloraError(outcome.error, code);
};

/** The MiloraError that a function throws; fails where it returns or the code is another. */
export const errorOf = (run: () => unknown, code: ErrorCode): MiloraError => {
  try {
    run();
  } catch (error) {
    return asMiloraError(error, code);
  }
  throw new Error(`expected an error with ${code}`);
};
