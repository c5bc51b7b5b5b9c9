import { Command } from "commander";
import type { CommandContext } from "./output.js";

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

const number = (value: string): number => Number(value);

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
type Action = (context: CommandContext, options: object, argument: string) => Promise<number | void>;

/** Runs a command's module, loaded only now, so that `--help` costs nothing. */
const run =
  (load: () => Promise<Action>) =>
  async (...received: readonly unknown[]): Promise<void> => {
    const command = received.at(-1);
    if (!(command instanceof Command)) throw new TypeError("commander passes the command last");
    const options = command.opts();
    const action = await load();
    const context = { json: options["json"] === true, signal: interruptSignal() };
    process.exitCode = (await action(context, options, command.args[0] ?? "")) ?? 0;
  };

const withJson = (command: Command): Command => command.option("--json", "print one JSON document on stdout");

const registerEnvironment = (program: Command): void => {
  withJson(program.command("setup").description("make the Python environment that milora uses"))
    .option("--demo", "with the embedded demo model")
    .action(run(async () => (await import("./commands/setup.js")).setup));
  withJson(program.command("doctor").description("check Node, Python, packages, device and disk")).action(
    run(async () => (await import("./commands/doctor.js")).doctor),
  );
  withJson(
    program.command("quickstart").description("fine-tune a small real model on a built-in task, before and after"),
  )
    .option("--out <dir>", "the run's folder")
    .option("--seed <n>", "seed of data and training", number, 0)
    .action(run(async () => (await import("./commands/quickstart.js")).quickstart));
  withJson(program.command("schema [name]").description("print the JSON Schema of a spec")).action(
    run(async () => (await import("./commands/schema.js")).schema),
  );
};

const registerTraining = (program: Command): void => {
  withJson(
    program.command("params <model>").description("count what a method trains and activates; no weights are read"),
  )
    .option("--method <kind>", "milora, midora or lora", "milora")
    .option("--set <path=value>", "a field of the method, such as rank=8 (repeatable)", collect)
    .action(run(async () => (await import("./commands/params.js")).params));
  withJson(program.command("train <spec>").description("fine-tune by a spec: JSON, YAML, or a .ts file"))
    .option("--out <dir>", "the run's folder; runs/run-<time> by default")
    .option("--resume", "go on from the newest checkpoint in --out")
    .option("--set <path=value>", "a field of the spec, such as train.epochs=2 (repeatable)", collect)
    .action(run(async () => (await import("./commands/train.js")).train));
  withJson(
    program.command("sweep <spec>").description("run methods × tasks × seeds by a spec; goes on where it was stopped"),
  )
    .option("--out <dir>", "the sweep's folder; sweeps/<name> by default")
    .option("--jobs <n>", "runs at once", number, 1)
    .option("--only <text>", "only the runs whose name or id contains it")
    .option("--dry-run", "list the runs and how they stand; run nothing")
    .action(run(async () => (await import("./commands/sweep.js")).sweepCommand));
};

const registerUse = (program: Command): void => {
  withJson(program.command("eval").description("score a model, or an adapter on it, on tasks"))
    .requiredOption("--model <model>", "a hub id, a folder, a .gguf file, or smollm2-135m")
    .requiredOption("--tasks <a,b>", "tasks, separated by commas")
    .option("--adapter <dir>", "an adapter's folder")
    .option("--data <dir>", "the folder that holds one folder a task")
    .option("--scorer <name>", "generate, label or loglik", "generate")
    .option("--template <name>", "one of the task's templates")
    .option("--beams <n>", "beams of the search", number, 1)
    .option("--limit <n>", "only the first n rows", number)
    .option("--max-new-tokens <n>", "the longest answer", number)
    .option("--outputs <file>", "write every row's output and reading to a JSON file")
    .option("--device <name>", "auto, cpu, cuda, mps", "auto")
    .option("--dtype <name>", "auto, float32, bfloat16, float16", "auto")
    .action(run(async () => (await import("./commands/eval.js")).evaluateCommand));
  withJson(program.command("generate").description("generate text; prompts of several tenants may be mixed"))
    .requiredOption("--model <model>", "a hub id, a folder, a .gguf file, or smollm2-135m")
    .option("--adapter <name=dir>", "an adapter under a tenant's name (repeatable)", collect)
    .option("--tenant <name>", "the tenant of the prompts after it (repeatable)")
    .option("--prompt <text>", "a prompt (repeatable)")
    .option("--beams <n>", "beams of the search", number, 1)
    .option("--max-new-tokens <n>", "the longest answer", number, 128)
    .option("--chat", "put prompts into the checkpoint's chat template")
    .option("--explain", "add the experts that each layer chose")
    .option("--device <name>", "auto, cpu, cuda, mps", "auto")
    .option("--dtype <name>", "auto, float32, bfloat16, float16", "auto")
    .action(run(async () => (await import("./commands/generate.js")).generate));
  withJson(program.command("score").description("score saved outputs without a model"))
    .requiredOption("--task <name>", "the task that reads the answers")
    .requiredOption("--outputs <file>", "JSON lines of {output, answer, choices?}")
    .option("--reader <name>", "robust or compat", "robust")
    .action(run(async () => (await import("./commands/score.js")).score));
  withJson(program.command("tasks").description("list the tasks"))
    .option("--data <dir>", "the folder that holds one folder a task")
    .action(run(async () => (await import("./commands/tasks.js")).tasks));
};

const registerUpcycling = (program: Command): void => {
  withJson(
    program.command("import <lora>").description("make a MiLoRA adapter of a PEFT LoRA adapter, with new routers"),
  )
    .requiredOption("--model <model>", "the base model")
    .requiredOption("--out <dir>", "the new adapter's folder")
    .option("--set <path=value>", "a field of the method, such as topK=3 (repeatable)", collect)
    .option("--seed <n>", "seed of the routers", number, 0)
    .action(run(async () => (await import("./commands/import.js")).importCommand));
  withJson(program.command("export <adapter>").description("write a plain PEFT LoRA adapter of the active experts"))
    .requiredOption("--out <dir>", "the LoRA adapter's folder")
    .option("--policy <file>", "JSON of the policy that names the experts to keep")
    .action(run(async () => (await import("./commands/export.js")).exportCommand));
};

/** Every command of the program; each one's own module is loaded only when it runs. */
export const registerCommands = (program: Command): void => {
  registerEnvironment(program);
  registerTraining(program);
  registerUse(program);
  registerUpcycling(program);
};
