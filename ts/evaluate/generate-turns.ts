import type { Asked, Rendered, Task } from "../tasks/task.js";

/** What was asked and what the model wrote in one turn. */
export interface Turn {
  readonly prompt: string;
  readonly output: string;
  /** The prompt lost its start, where the model's context had no room for it. */
  readonly truncated?: true | undefined;
}

interface Conversation {
  readonly example: unknown;
  readonly turns: readonly Turn[];
  /** What is asked next; undefined at the end. */
  readonly next: Asked | undefined;
}

/** What the model wrote; `truncated`: its prompt was cut at its start. */
export interface Written {
  readonly text: string;
  readonly truncated?: boolean | undefined;
}

/**
 * Every turn of each item, one batch a turn. `write`: outputs of prompts, in their order; fewer than were asked for
 * leave their items out.
 */
export const generateTurns = async (options: {
  readonly task: Task;
  readonly template: string;
  readonly items: readonly { readonly example: unknown; readonly rendered: Rendered }[];
  readonly write: (asked: readonly Asked[]) => Promise<readonly Written[]>;
}): Promise<readonly (readonly Turn[])[]> => {
  const { task, template, items, write } = options;
  let conversations: readonly Conversation[] = items.map(({ example, rendered }) => ({
    example,
    turns: [],
    next: rendered,
  }));
  for (;;) {
    const asked = conversations.flatMap(({ next }) => (next === undefined ? [] : [next]));
    if (asked.length === 0) return conversations.map(({ turns }) => turns);
    const outputs = [...(await write(asked))];
    conversations = conversations.flatMap((conversation) => {
      const { next, example } = conversation;
      if (next === undefined) return [conversation];
      const written = outputs.shift();
      if (written === undefined) return [];
      const { text: output, truncated = false } = written;
      const turns = [...conversation.turns, { prompt: next.prompt, output, ...(truncated ? { truncated } : {}) }];
      const texts = turns.map((turn) => turn.output);
      return [{ ...conversation, turns, next: task.nextPrompt?.(example, template, texts) }];
    });
  }
};
