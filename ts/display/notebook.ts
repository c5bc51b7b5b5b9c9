type Callable = (...values: readonly unknown[]) => unknown;

const isCallable = (value: unknown): value is Callable => typeof value === "function";

const propertyOf = (value: unknown, name: string): unknown =>
  (typeof value === "object" && value !== null) || typeof value === "function" ? Reflect.get(value, name) : undefined;

/** An output of a notebook cell; what is shown again replaces what was there. */
export type CellOutput = (mimeType: string, data: unknown) => void;

/**
 * A new output of the running cell, where this process is a tslab kernel. tslab is not a dependency: a kernel puts its
 * own `require`, which knows it, on the global `__tslab__`.
 */
export const openCellOutput = (): CellOutput | undefined => {
  const load = propertyOf(Reflect.get(globalThis, "__tslab__"), "require");
  if (!isCallable(load)) return undefined;
  const newDisplay = propertyOf(load("tslab"), "newDisplay");
  if (!isCallable(newDisplay)) return undefined;
  const output = newDisplay();
  const raw = propertyOf(output, "raw");
  if (!isCallable(raw)) return undefined;
  return (mimeType, data) => {
    Reflect.apply(raw, output, [mimeType, data]);
  };
};
