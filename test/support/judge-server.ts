import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { onTestFinished } from "vitest";
import { z } from "zod";

/** A request as the server got it. */
export interface JudgeRequest {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
  /** The text of the one message. */
  readonly prompt: string;
  /** Requests that came before it. */
  readonly before: number;
}

/** Closes the connection. */
export const drop = { fault: "drop" } as const;
/** Never answers. */
export const silence = { fault: "silence" } as const;

/** What the server does with a request. */
export type JudgeReaction =
  | string
  | { readonly fault: "drop" | "silence" }
  | {
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>> | undefined;
      readonly body?: string | undefined;
    };

export interface JudgeServer {
  /** The base address, as `--endpoint` takes it. */
  readonly endpoint: string;
  readonly requests: readonly JudgeRequest[];
}

const bodySchema = z.looseObject({ messages: z.array(z.object({ role: z.string(), content: z.string() })).min(1) });

const readAll = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString("utf8");
};

/** A chat completion as OpenAI's endpoint writes it. */
export const completion = (text: string | null, finish = "stop"): string =>
  JSON.stringify({
    id: "chat-1",
    object: "chat.completion",
    model: "judge-2026",
    choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: finish }],
    usage: { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 },
  });

const react = (response: ServerResponse, reaction: JudgeReaction): void => {
  if (typeof reaction === "object" && "fault" in reaction) {
    if (reaction.fault === "drop") response.destroy();
    return;
  }
  const {
    status,
    headers = {},
    body = "",
  } = typeof reaction === "string" ? { status: 200, body: completion(reaction) } : reaction;
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(body);
};

/** A real HTTP server on this machine that plays the judge; a text is a good answer. It ends with the running test. */
export const judgeServer = async (judge: (request: JudgeRequest) => JudgeReaction): Promise<JudgeServer> => {
  const requests: JudgeRequest[] = [];
  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = bodySchema.parse(JSON.parse(await readAll(incoming)));
    const request = {
      method: incoming.method ?? "",
      path: incoming.url ?? "",
      authorization: incoming.headers.authorization,
      body,
      prompt: body.messages.map(({ content }) => content).join("\n"),
      before: requests.length,
    };
    requests.push(request);
    react(response, judge(request));
  };
  const server = createServer((incoming, response) => void serve(incoming, response));
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => {
      server.close(resolve);
    });
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { endpoint: `http://127.0.0.1:${port}/v1`, requests };
};
