import childProcess, { type ChildProcess, type SpawnOptions } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join, sep } from "node:path";
import type { Python } from "pythonia";

/** A raw Python object: await each step (`const layer = await model.layer`), no `.apply`, no tensors held for long. */
export type PythonProxy = Awaited<ReturnType<Python>>;

/** A message of pythonia's protocol, either way. */
export interface Message {
  readonly r?: number;
  readonly c?: string;
  readonly key?: string;
  val?: unknown;
  readonly sig?: string;
  readonly t?: 1;
  readonly event?: unknown;
  readonly id?: number;
}

export type Callback = (message: Message) => unknown;

/** pythonia's transport, as far as it is used or replaced here. */
export interface Com {
  readonly proc: ChildProcess;
  readonly handlers: Record<string, Callback | undefined>;
  write: (message: Message, callback?: Callback) => void;
  writeRaw: (payload: string, id: number, callback: Callback) => void;
  recieve: (message: Message) => unknown;
}

/** pythonia's bridge, as far as it is used or replaced here. */
export interface Bridge {
  readonly loop: NodeJS.Timeout;
  readonly end: () => void;
  call: (...args: BridgeCallArguments) => Promise<unknown>;
  makePyObject: (id: number, inspected?: string) => PythonProxy;
}

export type BridgeCallArguments = [
  id: number,
  path: readonly unknown[],
  args: readonly unknown[],
  keywords: Readonly<Record<string, unknown>> | undefined,
  set: boolean,
  timeout?: number,
];

export interface Pythonia {
  /** Python's side of the root object: `python(name)` imports a module by name. */
  readonly builtins: { readonly python: (name: string) => Promise<PythonProxy> };
  readonly com: Com;
  readonly bridge: Bridge;
  readonly errors: { getErrorMessage: (call: string, jsStack: string, signature: string) => string };
}

const bridgeGlobal = "__pythonBridge";

/**
 * Starts a Python of its own by running a fresh copy of pythonia's modules: pythonia starts Python when it is
 * required, and one copy knows one Python. Everything it needs from this process is set and put back within one tick.
 */
export const loadPythonia = (python: string, env: Readonly<Record<string, string | undefined>>): Pythonia => {
  const require = createRequire(import.meta.url);
  const entry = require.resolve("pythonia");
  const folder = dirname(entry) + sep;
  const restore = [
    takeFromCache(require, folder),
    // Without REQ_TIMEOUT a call is given up after 100 s; with DEBUG every message is printed.
    setVariables({ PYTHON_BIN: python, REQ_TIMEOUT: "0", DEBUG: undefined }),
    redirectSpawn(env),
    keepGlobal(bridgeGlobal),
  ];
  try {
    const { builtins, com }: Pick<Pythonia, "builtins" | "com"> = require(entry);
    const bridge: Bridge = Reflect.get(globalThis, bridgeGlobal);
    const errors: Pythonia["errors"] = require(join(folder, "errors.js"));
    return { builtins, com, bridge, errors };
  } finally {
    for (const undo of restore.toReversed()) undo();
  }
};

const takeFromCache = (require: NodeJS.Require, folder: string): (() => void) => {
  const namesOf = (): string[] => Object.keys(require.cache).filter((name) => name.startsWith(folder));
  const kept = namesOf().map((name) => [name, require.cache[name]] as const);
  for (const [name] of kept) delete require.cache[name];
  return () => {
    for (const name of namesOf()) delete require.cache[name];
    for (const [name, module] of kept) require.cache[name] = module;
  };
};

const setVariables = (variables: Readonly<Record<string, string | undefined>>): (() => void) => {
  const former = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  for (const [name, value] of Object.entries(variables)) setVariable(name, value);
  return () => {
    for (const [name, value] of former) setVariable(name, value);
  };
};

const setVariable = (name: string, value: string | undefined): void => {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
};

/** pythonia lets Python inherit the terminal; here its output is read, and it gets no input. */
const redirectSpawn = (env: Readonly<Record<string, string | undefined>>): (() => void) => {
  const { spawn } = childProcess;
  const redirected = (command: string, args: readonly string[], options: SpawnOptions): ChildProcess =>
    spawn(command, args, { ...options, env, stdio: ["ignore", "pipe", "pipe", "ipc"] });
  Reflect.set(childProcess, "spawn", redirected);
  return () => Reflect.set(childProcess, "spawn", spawn);
};

const keepGlobal = (name: string): (() => void) => {
  const former = Object.getOwnPropertyDescriptor(globalThis, name);
  return () => {
    if (former === undefined) Reflect.deleteProperty(globalThis, name);
    else Object.defineProperty(globalThis, name, former);
  };
};
