import type { Rendered, Task } from "../tasks/task.js";

/** What was asked and what the model wrote in one turn. */
export interface Turn {
  readonly prompt: string;
  readonly output: string;
}

interface Conversation {
  readonly chat: boolean;
  readonly example: unknown;
  readonly turns: readonly Turn[];
  /** What is asked next; undefined at the end. */
  readonly next: string | undefined;
}

/**
 * Every turn of each item, one batch a turn. `write`: outputs of prompts, in their order; fewer than were asked for
 * leave their items out.
 */
export const generateTurns = async (options: {
  readonly task: Task;
  readonly template: string;
  readonly items: readonly { readonly example: unknown; readonly rendered: Rendered }[];
  readonly write: (
    prompts: readonly { readonly prompt: string; readonly chat: boolean }[],
  ) => Promise<readonly string[]>;
}): Promise<readonly (readonly Turn[])[]> => {
  const { task, template, items, write } = options;
  let conversations: readonly Conversation[] = items.map(({ example, rendered: { prompt, chat = false } }) => ({
    example,
    chat,
    turns: [],
    next: prompt,
  }));
  for (;;) {
    const asked = conversations.flatMap(({ next, chat }) => (next === undefined ? [] : [{ prompt: next, chat }]));
    if (asked.length === 0) return conversations.map(({ turns }) => turns);
    const outputs = [...(await write(asked))];
    conversations = conversations.flatMap((conversation) => {
      const { next: prompt, example } = conversation;
      if (prompt === undefined) return [conversation];
      const output = outputs.shift();
      if (output === undefined) return [];
      const turns = [...conversation.turns, { prompt, output }];
      const texts = turns.map((turn) => turn.output);
      return [{ ...conversation, turns, next: task.nextPrompt?.(example, template, texts) }];
    });
  }
};
