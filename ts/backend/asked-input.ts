import type { OpInput } from "./backend.js";

/** A prompt, or the messages of a chat up to the one that is to be answered. */
export interface AskedText {
  readonly prompt?: string | undefined;
  readonly chat?: boolean | undefined;
  readonly messages?: readonly { readonly role: string; readonly content: string }[] | undefined;
}

/** What a model is asked, in an operation's fields. Messages go before a prompt. */
export const askedInput = ({
  prompt = "",
  chat = false,
  messages,
}: AskedText): Pick<OpInput<"generate">["requests"][number], "prompt" | "chat" | "messages"> =>
  messages === undefined ? { prompt, chat } : { messages: messages.map(({ role, content }) => ({ role, content })) };
