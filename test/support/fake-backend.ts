import type { Backend, CallOptions, OpInput, OpName, OpOutput } from "../../ts/backend/backend.js";
import { ops } from "../../ts/backend/ops.js";

export type FakeHandler<Name extends OpName> = (
  input: OpInput<Name>,
  options: CallOptions | undefined,
) => OpOutput<Name> | Promise<OpOutput<Name>>;

/** Answers by operation; an operation without one rejects. */
export type FakeHandlers = { readonly [Name in OpName]?: FakeHandler<Name> };

export interface RecordedCall {
  readonly name: OpName;
  readonly input: unknown;
}

export interface FakeBackend extends Backend {
  /** Every call, oldest first, as it was made. */
  readonly calls: readonly RecordedCall[];
  readonly closed: () => boolean;
}

/**
 * A scripted backend for tests of our own logic: it records the calls, holds inputs and outputs to the op table's
 * schemas, and computes nothing.
 */
export const createFakeBackend = (handlers: FakeHandlers = {}): FakeBackend => {
  const calls: RecordedCall[] = [];
  let closed = false;
  return {
    calls,
    closed: () => closed,
    call: async (name, input, options) => {
      if (closed) throw new Error(`The fake backend is closed, but ${name} was called.`);
      ops[name].input.parse(input);
      calls.push({ name, input: structuredClone(input) });
      const handler = handlers[name];
      if (handler === undefined) throw new Error(`The fake backend has no answer for ${name}.`);
      const output = await handler(input, options);
      ops[name].output.parse(output);
      return output;
    },
    close: () => {
      closed = true;
      return Promise.resolve();
    },
  };
};
