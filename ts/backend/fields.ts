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
