import { askedInput } from "../backend/asked-input.js";
import type { Backend, OpInput, OpOutput } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import { chunks } from "../util/text.js";
import { changeInput, promptText, routingField, type Asked, type Routing, type RoutingChange } from "./asked-text.js";

export type TextRequest = Asked &
  RoutingChange & {
    /** Name of a loaded adapter; null = the base model. */
    readonly adapter?: string | null | undefined;
  };

/** A generated text; `routing` with `explain` and a routed adapter. */
export interface GeneratedText {
  /** The adapter that wrote it; null for the base model. */
  readonly tenant: string | null;
  /** The request's; of a chat the newest message. */
  readonly prompt: string;
  /** What was written, without the prompt. */
  readonly text: string;
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  /** Tokens that were written. */
  readonly newTokens: number;
  /** `stop`: the model ended the text; `length`: it reached `maxNewTokens`. */
  readonly finish: "stop" | "length";
  /** What the routers decided for the prompt. */
  readonly routing?: Routing | undefined;
}

/** How texts are generated, and with what. */
export interface GenerateTextsOptions {
  /** The Python side. */
  readonly backend: Backend;
  /** A text is written for each. */
  readonly requests: readonly TextRequest[];
  /** 128 by default. */
  readonly maxNewTokens?: number | undefined;
  /** 1 = greedy. */
  readonly beams?: number | undefined;
  /** Adds the routing of each prompt. */
  readonly explain?: boolean | undefined;
  /** Compiles the engine's decode step, once a model: meant for GPUs, slower on CPUs so far. Errors: those of `engineOpen`. */
  readonly compile?: boolean | undefined;
  /** Requests that go to the model at once, of whichever adapters; 32 by default. */
  readonly batchSize?: number | undefined;
  /** An abort ends the work with code `cancelled`. */
  readonly signal?: AbortSignal | undefined;
  /** Told the texts that are done, and how many there are. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

const describe = (request: TextRequest, output: OpOutput<"generate">["outputs"][number]): GeneratedText => ({
  tenant: request.adapter ?? null,
  prompt: promptText(request),
  text: output.text,
  promptTokens: output.promptTokens,
  newTokens: output.newTokens,
  finish: output.finish,
  ...routingField(output.routing),
});

const requestInput = (request: TextRequest): OpInput<"generate">["requests"][number] => ({
  adapter: request.adapter ?? null,
  ...askedInput(request),
  ...changeInput(request),
});

/**
 * Generates one text a request, in the requests' order; those of several adapters share a batch.
 * Errors: `cancelled` between two batches; the backend's.
 */
export const generateTexts = async (options: GenerateTextsOptions): Promise<readonly GeneratedText[]> => {
  const {
    backend,
    requests,
    maxNewTokens = 128,
    beams = 1,
    explain = false,
    compile = false,
    batchSize = 32,
    signal,
  } = options;
  const texts: GeneratedText[] = [];
  for (const chunk of chunks(requests, batchSize)) {
    if (signal?.aborted === true) throw new MiloraError("cancelled", "The generation was cancelled.");
    const input = chunk.map(requestInput);
    const settings = { maxNewTokens, beams, explain, compile };
    const { outputs } = await backend.call("generate", { requests: input, ...settings }, { signal });
    if (outputs.length !== chunk.length) {
      throw new MiloraError(
        "internal",
        `${chunk.length} prompts went to the model, ${outputs.length} texts came back.`,
      );
    }
    chunk.forEach((request, index) => {
      texts.push(...outputs.slice(index, index + 1).map((output) => describe(request, output)));
    });
    options.onProgress?.(texts.length, requests.length);
  }
  return texts;
};
