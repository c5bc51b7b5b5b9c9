/** `robust` reads what an output states; `compat` reads as LLM-Adapters' own evaluation does. */
export const readerNames = ["robust", "compat"] as const;

export type ReaderName = (typeof readerNames)[number];
