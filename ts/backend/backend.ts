import type { z } from "zod";
import type { ops } from "./ops.js";

export type OpName = keyof typeof ops;
/** What a caller passes: fields with defaults may be left out. */
export type OpInput<Name extends OpName> = z.input<(typeof ops)[Name]["input"]>;
export type OpOutput<Name extends OpName> = z.output<(typeof ops)[Name]["output"]>;

/** What the backend tells while a call runs. */
export type BackendEvent =
  | { readonly type: "progress"; readonly stage: string; readonly done: number; readonly total: number }
  | { readonly type: "log"; readonly level: "debug" | "info" | "warning" | "error"; readonly text: string };

export interface CallOptions {
  /** Ends the call early; it then rejects with code `cancelled`. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the call is given up; none by default. */
  readonly timeoutMs?: number | undefined;
  readonly onEvent?: ((event: BackendEvent) => void) | undefined;
}

/** The tensor side, seen from TypeScript: a typed table of operations, one at a time, in order. */
export interface Backend {
  call<Name extends OpName>(name: Name, input: OpInput<Name>, options?: CallOptions): Promise<OpOutput<Name>>;
  close(): Promise<void>;
}
