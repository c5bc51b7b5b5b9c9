import { Command } from "commander";
import type { CommandContext } from "./output.js";

export const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

export const number = (value: string): number => Number(value);

/** The first Ctrl-C asks the command to end, the second ends the program. */
const interruptSignal = (): AbortSignal => {
  const controller = new AbortController();
  process.on("SIGINT", () => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write("\nmilora: stopping; Ctrl-C again ends at once\n");
    controller.abort();
  });
  return controller.signal;
};

/** A command: it checks its own options; what it returns is the exit code, 0 by default. */
type Action = (
  context: CommandContext,
  options: object,
  argument: string,
  others: readonly string[],
) => Promise<number | void>;

/** Runs a command's module, loaded only now, so that `--help` costs nothing. */
export const run =
  (load: () => Promise<Action>) =>
  async (...received: readonly unknown[]): Promise<void> => {
    const command = received.at(-1);
    if (!(command instanceof Command)) throw new TypeError("commander passes the command last");
    const options = command.opts();
    const action = await load();
    const context = { json: options["json"] === true, signal: interruptSignal() };
    process.exitCode = (await action(context, options, command.args[0] ?? "", command.args.slice(1))) ?? 0;
  };

export const withJson = (command: Command): Command => command.option("--json", "print one JSON document on stdout");

export const withPlacement = (command: Command): Command =>
  command
    .option("--device <name>", "auto, cpu, cuda, mps", "auto")
    .option("--dtype <name>", "auto, float32, bfloat16, float16", "auto");
