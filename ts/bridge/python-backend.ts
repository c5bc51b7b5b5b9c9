import { z } from "zod";
import type { Backend, CallOptions, OpInput, OpName, OpOutput } from "../backend/backend.js";
import { ops } from "../backend/ops.js";
import { MiloraError } from "../errors.js";
import { protocolError } from "./errors.js";
import type { SessionOptions } from "./options.js";
import { openSession, type Session } from "./session.js";

/** The tensor side in a Python process: the typed table of operations over a {@link Session}. */
export class PythonBackend implements Backend, AsyncDisposable {
  readonly session: Session;

  constructor(session: Session) {
    this.session = session;
  }

  /**
   * Runs an operation; the input is checked and its defaults filled before it is sent, the output after it came.
   * @throws MiloraError `input/invalid-spec` for a wrong input, `bridge/protocol` for a wrong output, and those of
   * {@link Session.call}.
   */
  async call<Name extends OpName>(
    name: Name,
    input: OpInput<Name>,
    options: CallOptions = {},
  ): Promise<OpOutput<Name>> {
    const schemas = opSchemas[name];
    const checked = schemas.input.safeParse(input);
    if (!checked.success) throw inputError(name, checked.error);
    const result = schemas.output.safeParse(await this.session.call(name, checked.data, options));
    if (!result.success) {
      throw protocolError(
        `The operation ${name} gave a result that its schema does not allow:\n${z.prettifyError(result.error)}`,
        {
          cause: result.error,
          hint: "This is a fault of milora, or its TypeScript and Python parts are of different versions.",
        },
      );
    }
    return result.data;
  }

  async close(): Promise<void> {
    await this.session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Opens a session of its own and wraps it; `close()` ends both. */
export const openBackend = async (options: SessionOptions): Promise<PythonBackend> =>
  new PythonBackend(await openSession(options));

/** The table once more, in a form whose entries keep their types when the name is a type parameter. */
const opSchemas: {
  readonly [Name in OpName]: { readonly input: z.ZodType; readonly output: z.ZodType<OpOutput<Name>> };
} = ops;

const inputError = (name: string, error: z.ZodError): MiloraError => {
  const problems = error.issues.map(({ path, message }) => `${path.join(".") || name}: ${message}`);
  return new MiloraError("input/invalid-spec", `The input of ${name} is wrong: ${problems.join("; ")}.`, {
    path: error.issues[0]?.path.join("."),
    problems,
    cause: error,
  });
};
