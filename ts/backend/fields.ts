import { z } from "zod";

/** Fields that several operations share. */

export const count = z.int().nonnegative();
export const adapterName = z.string().min(1);
/** `null` means: the base model, no adapter. */
export const adapterOrNull = adapterName.nullable().default(null);

/** What a model is asked: a text, or the messages of a chat. */
export const asked = {
  prompt: z.string().default(""),
  /** Puts the prompt into the checkpoint's chat template as one user message. */
  chat: z.boolean().default(false),
  /** In place of a prompt: a chat up to the message that is to be answered, for the checkpoint's chat template. */
  messages: z
    .array(z.object({ role: z.string().min(1), content: z.string() }))
    .min(1)
    .nullable()
    .default(null),
};

/** What a request changes of its adapter's routing; for a MiLoRA adapter with a learned policy. */
export const routingChange = {
  /** Fewer active experts than the adapter was trained with; null = its own k. */
  topK: count.min(1).nullable().default(null),
  /** Experts that may not be active. */
  masked: z.array(z.string()).default([]),
  /** Keeps this prompt's decision under a name, for `decision` of a later request (the next chat turn). */
  keepDecisionAs: z.string().min(1).nullable().default(null),
  /** Uses a kept decision instead of the router. */
  decision: z.string().min(1).nullable().default(null),
};

/** With `explain`, for a routed adapter: per layer the chosen experts, most probable first, and their gates. */
export const explained = z
  .object({ experts: z.array(z.array(z.string())), gates: z.array(z.array(z.number())) })
  .nullable()
  .default(null);

/** Rows of a loaded data set, by their index. */
export const rowIndices = z.array(count).min(1);
