/**
 * A task of your own: one object holds all that decides its score. Scored by likelihood and by what the model writes.
 *
 *     npx tsx examples/custom-task.ts [model] [adapter-folder]
 */
import { fileURLToPath } from "node:url";
import { defineTask, openMilora } from "milora";

interface Ticket {
  readonly text: string;
  readonly kind: string;
}

const isTicket = (value: unknown): value is Ticket =>
  typeof value === "object" && value !== null && "text" in value && "kind" in value;

const triage = defineTask<Ticket>({
  name: "triage",
  version: 1, // raise it with every change that moves scores
  choices: ["bug", "question", "praise"],
  prompt: ({ text }) => `Ticket: ${text}\nKind:`,
  answer: ({ kind }) => kind,
  maxNewTokens: 4,
  // A row a line in <dir>/triage/test.jsonl; what is thrown here is told with file and line.
  parse: (value) => {
    if (!isTicket(value)) throw new Error("a ticket has text and kind");
    return value;
  },
});

const [model = "smollm2-135m", adapter] = process.argv.slice(2);
const milora = await openMilora({ model });
const dir = fileURLToPath(new URL("data", import.meta.url));
for (const scorer of ["loglik", "generate"] as const) {
  const { results } = await milora.evaluate({ adapter, tasks: [triage], dir, scorer });
  for (const { correct, total, unparsed, chance, protocol } of results) {
    console.log(`${scorer}: ${correct} of ${total}, unparsed ${unparsed}, chance ${chance.toFixed(2)}`);
    console.log(`  ${protocol}`);
  }
}
await milora.close();
