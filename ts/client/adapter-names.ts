import { resolve } from "node:path";
import type { Backend } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import { unknownNameMessage } from "../util/did-you-mean.js";

/**
 * Adapters that a session holds, by the name that the user gave them.
 * PEFT loses weights of adapters whose name is part of a module's path, so that each has an inner name of its own.
 */
export class AdapterNames {
  readonly #backend: Backend;
  readonly #loaded = new Map<string, { readonly inner: string; readonly folder: string }>();
  #next = 1;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  get names(): readonly string[] {
    return [...this.#loaded.keys()];
  }

  /** Loads a folder under a name; the adapter that had the name before is unloaded. */
  async load(name: string, folder: string): Promise<void> {
    const before = this.#loaded.get(name);
    const inner = `tenant_${this.#next}`;
    this.#next += 1;
    await this.#backend.call("loadAdapter", { adapter: inner, folder: resolve(folder) });
    this.#loaded.set(name, { inner, folder });
    if (before !== undefined) await this.#backend.call("unloadAdapter", { adapter: before.inner });
  }

  async unload(name: string): Promise<void> {
    const inner = this.inner(name);
    this.#loaded.delete(name);
    if (inner !== null) await this.#backend.call("unloadAdapter", { adapter: inner });
  }

  /** The folder that a name was loaded from; what is no name is a folder itself. */
  folder(name: string | undefined): string | undefined {
    return name === undefined ? undefined : (this.#loaded.get(name)?.folder ?? name);
  }

  /** The inner name; null for the base model (no name). */
  inner(name: string | undefined): string | null {
    if (name === undefined) return null;
    const entry = this.#loaded.get(name);
    if (entry === undefined)
      throw new MiloraError("adapter/not-found", unknownNameMessage("adapter", name, this.names), {
        found: name,
        allowed: this.names.join(", "),
        hint: "Load it first: milora.load(name, folder).",
      });
    return entry.inner;
  }
}
