import type { Backend } from "../backend/backend.js";
import { openTextEngine, type EngineOptions, type TextEngine } from "../generate/text-engine.js";
import type { AdapterNames } from "./adapter-names.js";

/** The engine of a session, with the adapters that the session has loaded so far. */
export const openEngine = async (
  backend: Backend,
  names: AdapterNames,
  options: EngineOptions,
): Promise<TextEngine> => {
  const engine = await openTextEngine(backend, options);
  try {
    for (const name of names.names) await engine.load(name, names.folder(name) ?? name);
    return engine;
  } catch (error) {
    await engine.close();
    throw error;
  }
};
