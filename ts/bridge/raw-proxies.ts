import type { MiloraError } from "../errors.js";
import { errorOfEnvelope } from "./envelope.js";
import { protocolError } from "./errors.js";
import type { BridgeCallArguments, Pythonia } from "./pythonia.js";
import { endedSignature } from "./transport.js";

export interface RawProxyOptions {
  /** The error of a request to a Python that is no more. */
  readonly endError: () => MiloraError;
  /** Takes the error of an assignment (`object.name = value`), which nobody can await. */
  readonly onLostError: (error: unknown) => void;
}

/**
 * Makes raw proxies reject with typed errors, and refuse arguments that would arrive as something else.
 * @returns a test whether a value is a proxy of this Python: ids of another one name other objects here.
 */
export const hardenRawProxies = (pythonia: Pythonia, options: RawProxyOptions): ((value: unknown) => boolean) => {
  const { bridge, errors } = pythonia;
  // pythonia's own error has no message, and reads the caller's source file to build a stack.
  errors.getErrorMessage = (_call, _stack, signature) => {
    throw signature === endedSignature ? options.endError() : errorOfEnvelope(signature);
  };

  const call = bridge.call.bind(bridge);
  bridge.call = async (...args: BridgeCallArguments) => {
    const [, path, values, keywords, set] = args;
    const work = async (): Promise<unknown> => {
      refuseLossyNumbers([values, keywords], path.join("."));
      return call(...args);
    };
    return set ? work().catch(options.onLostError) : work();
  };

  const own = new WeakSet<object>();
  const makePyObject = bridge.makePyObject.bind(bridge);
  bridge.makePyObject = (id, inspected) => {
    const proxy: unknown = makePyObject(id, inspected);
    if (typeof proxy === "function") own.add(proxy);
    return proxy;
  };
  return (value) => typeof value === "function" && own.has(value);
};

const refuseLossyNumbers = (value: unknown, call: string): void => {
  if (typeof value === "bigint" || (typeof value === "number" && !Number.isFinite(value))) {
    throw protocolError(`The argument ${value} of the raw call ${call} cannot be sent as JSON.`, {
      hint: "Make it in Python: await (await session.python('builtins')).float('nan'), or .int('123').",
    });
  }
  if (Array.isArray(value)) for (const item of value) refuseLossyNumbers(item, call);
  else if (isPlainObject(value)) for (const item of Object.values(value)) refuseLossyNumbers(item, call);
};

const isPlainObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
