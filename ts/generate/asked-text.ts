import type { OpInput, OpOutput } from "../backend/backend.js";

/** A message of a chat. */
export interface Message {
  /** `system`, `user` or `assistant`. */
  readonly role: string;
  /** What is said. */
  readonly content: string;
}

/** What is asked: a text, or a chat up to the message that is to be answered. */
export type Asked =
  | {
      /** The text as it goes to the model. */
      readonly prompt: string;
      /** Puts the prompt into the checkpoint's chat template as one user message. */
      readonly chat?: boolean | undefined;
      /** Of the other form. */
      readonly messages?: undefined;
    }
  | {
      /** For the checkpoint's chat template. */
      readonly messages: readonly Message[];
      /** Of the other form. */
      readonly prompt?: undefined;
      /** Of the other form. */
      readonly chat?: undefined;
    };

/** What a request changes of its adapter's routing; for a MiLoRA adapter with a learned policy. */
export interface RoutingChange {
  /** Fewer active experts than the adapter was trained with. */
  readonly topK?: number | undefined;
  /** Experts that may not be active, by name. */
  readonly masked?: readonly string[] | undefined;
  /** Keeps this prompt's decision under a name. */
  readonly keepDecisionAs?: string | undefined;
  /** Uses a kept decision instead of the router's. */
  readonly decision?: string | undefined;
}

/** Per layer the chosen experts, most probable first, and their gates. */
export interface Routing {
  /** Names of the active experts: layer → experts. */
  readonly experts: readonly (readonly string[])[];
  /** The gate of each of them, in the same order. */
  readonly gates: readonly (readonly number[])[];
}

/** What is changed of the routing, in an operation's fields. */
export const changeInput = (
  change: RoutingChange,
): Pick<OpInput<"generate">["requests"][number], "topK" | "masked" | "keepDecisionAs" | "decision"> => {
  const { topK = null, masked = [], keepDecisionAs = null, decision = null } = change;
  return { topK, masked: [...masked], keepDecisionAs, decision };
};

/** What a result calls its prompt: of a chat the newest message. */
export const promptText = ({ prompt, messages }: Asked): string => prompt ?? messages?.at(-1)?.content ?? "";

/** A routing where there is one. */
export const routingField = (
  routing: OpOutput<"generate">["outputs"][number]["routing"],
): { readonly routing?: Routing } => (routing === null ? {} : { routing });
