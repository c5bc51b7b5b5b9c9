import { randomUUID } from "node:crypto";

type Callable = (...values: readonly unknown[]) => unknown;

const isCallable = (value: unknown): value is Callable => typeof value === "function";

const propertyOf = (value: unknown, name: string): unknown =>
  (typeof value === "object" && value !== null) || typeof value === "function" ? Reflect.get(value, name) : undefined;

/**
 * The `require` of the tslab kernel that this process is, which knows tslab; undefined elsewhere. tslab is not a
 * dependency: a kernel puts its own on the global `__tslab__`.
 */
const kernelRequire = (): Callable | undefined => {
  const load = propertyOf(Reflect.get(globalThis, "__tslab__"), "require");
  return isCallable(load) ? load : undefined;
};

export const isNotebook = (): boolean => kernelRequire() !== undefined;

/** What is shown, by mime type, the most widely known first; a front end takes the best that it knows. */
export type Forms = Readonly<Record<string, unknown>>;

/** An output of a notebook cell; what is shown again replaces what was there. */
export type CellOutput = (forms: Forms) => void;

/** tslab's public call takes one mime type; its module with the sockets keeps a function that takes all of a message. */
const kernelModule = (load: Callable): unknown => {
  const cache = propertyOf(load, "cache");
  if (typeof cache !== "object" || cache === null) return undefined;
  const file = Object.keys(cache).find((name) => /[\\/]tslab[\\/]dist[\\/]jupyter\.js$/.test(name));
  return file === undefined ? undefined : propertyOf(Reflect.get(cache, file), "exports");
};

const firstFormOnly = (load: Callable): CellOutput | undefined => {
  const newDisplay = propertyOf(load("tslab"), "newDisplay");
  if (!isCallable(newDisplay)) return undefined;
  const output = newDisplay();
  const raw = propertyOf(output, "raw");
  if (!isCallable(raw)) return undefined;
  return (forms) => {
    const [first] = Object.entries(forms);
    if (first !== undefined) Reflect.apply(raw, output, first);
  };
};

/** A new output of the running cell, where this process is a tslab kernel. */
export const openCellOutput = (): CellOutput | undefined => {
  const load = kernelRequire();
  if (load === undefined) return undefined;
  const kernel = kernelModule(load);
  if (!isCallable(propertyOf(kernel, "lastWriteDisplayData"))) return firstFormOnly(load);
  const id = randomUUID();
  let shown = false;
  return (forms) => {
    // The running cell's: the kernel sets it anew for each.
    const write = propertyOf(kernel, "lastWriteDisplayData");
    if (isCallable(write)) write({ data: forms, metadata: {}, transient: { display_id: id } }, shown);
    shown = true;
  };
};
