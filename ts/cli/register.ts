import type { Command } from "commander";
import { smallSize } from "../reproduce/groups.js";
import { collect, number, run, withJson, withPlacement } from "./command-helpers.js";
import { addExamples } from "./examples.js";
import { registerBenches } from "./register-bench.js";

const jobsText = "runs at once: 1 by default, on Ray as many as it has room for";
const rayText = "run each as a task of the Ray at an address: auto, or its head's host:port";

const registerEnvironment = (program: Command): void => {
  withJson(program.command("setup").description("make the Python environment that milora uses"))
    .option("--demo", "with the embedded demo model")
    .action(run(async () => (await import("./commands/setup.js")).setup));
  withJson(program.command("doctor").description("check Node, Python, packages, device and disk"))
    .option("--ray [address]", "and the Ray that ranks would run on: auto, or its head's host:port")
    .action(run(async () => (await import("./commands/doctor.js")).doctor));
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
    .option("--method <kind>", "a kind, such as milora, midora, lora; docs/methods lists them", "milora")
    .option("--set <path=value>", "a field of the method, such as rank=8 (repeatable)", collect)
    .action(run(async () => (await import("./commands/params.js")).params));
  withJson(program.command("train <spec>").description("fine-tune by a spec: JSON, YAML, or a .ts file"))
    .option("--out <dir>", "the run's folder; runs/run-<time> by default")
    .option("--resume", "go on from the newest checkpoint in --out")
    .option("--allow <field>", "with --resume: a field of the spec that may differ (repeatable)", collect)
    .option("--dry-run", "parameters, memory, steps and time by a trial of two steps; trains nothing")
    .option("--set <path=value>", "a field of the spec, such as train.epochs=2 (repeatable)", collect)
    .action(run(async () => (await import("./commands/train.js")).train));
  withJson(
    program.command("sweep <spec>").description("run methods × tasks × seeds by a spec; goes on where it was stopped"),
  )
    .option("--out <dir>", "the sweep's folder; sweeps/<name> by default")
    .option("--jobs <n>", jobsText, number)
    .option("--ray [address]", rayText)
    .option("--only <text>", "only the runs whose name or id contains it")
    .option("--dry-run", "list the runs, how they stand, and about what time and disk they take; run nothing")
    .option("--trial", "with --dry-run: try two steps of each row of which no run has finished")
    .action(run(async () => (await import("./commands/sweep.js")).sweepCommand));
  withJson(
    program
      .command("reproduce <target>")
      .description("run what a table or figure of the paper needs, and print it beside the paper's"),
  )
    .requiredOption("--model <model>", "a hub id, a folder, a .gguf file, or smollm2-135m")
    .option("--data <dir>", "the folder that holds one folder a task; what it lacks is fetched from the hub")
    .option("--scale <name>", "paper, or small for a small model on one machine", "paper")
    .option("--rows <n>", `small scale: training rows of a task (default: ${smallSize.rows})`, number)
    .option("--test-rows <n>", `small scale: test rows of a task (default: ${smallSize.testRows})`, number)
    .option(
      "--seeds <n>",
      `small scale: seeds of a row, where it has more than one (default: ${smallSize.seeds})`,
      number,
    )
    .option("--out <dir>", "the folder of the runs; reproduce/<target>-<scale> by default")
    .option("--jobs <n>", jobsText, number)
    .option("--ray [address]", rayText)
    .option("--dry-run", "list the runs, how they stand, and about what time and disk they take; run nothing")
    .option("--trial", "with --dry-run: try two steps of each row of which no run has finished")
    .addHelpText(
      "after",
      "\nTargets: table-1, table-2, table-3, table-4, table-5, table-7, figure-2, figure-3, figure-4, figure-5\n",
    )
    .action(run(async () => (await import("./commands/reproduce.js")).reproduce));
};

const registerUse = (program: Command): void => {
  withPlacement(withJson(program.command("eval").description("score a model, or an adapter on it, on tasks")))
    .requiredOption("--model <model>", "a hub id, a folder, a .gguf file, or smollm2-135m")
    .requiredOption("--tasks <a,b>", "tasks, separated by commas")
    .option("--adapter <dir>", "an adapter's folder")
    .option("--data <dir>", "the folder that holds one folder a task; what it lacks is fetched from the hub")
    .option("--hub <id>", "take the rows from this data set on the hub, of the tasks' own form")
    .option("--hub-config <name>", "take the rows from this config of the data set")
    .option("--hub-revision <name>", "take the rows from this branch, tag or commit of the data set")
    .option("--scorer <name>", "generate, label or loglik", "generate")
    .option("--template <name>", "one of the task's templates")
    .option("--reader <name>", "robust or compat", "robust")
    .option("--beams <n>", "beams of the search", number, 1)
    .option("--limit <n>", "only the first n rows", number)
    .option("--max-new-tokens <n>", "the longest answer", number)
    .option("--outputs <file>", "write every row's output and reading to a JSON file")
    .option("--quantization <name>", "the base model's weights as none, nf4 or int8", "none")
    .action(run(async () => (await import("./commands/eval.js")).evaluateCommand));
  withPlacement(
    withJson(program.command("generate").description("generate text; prompts of several tenants may be mixed")),
  )
    .requiredOption("--model <model>", "a hub id, a folder, a .gguf file, or smollm2-135m")
    .option("--adapter <name=dir>", "an adapter under a tenant's name (repeatable)", collect)
    .option("--tenant <name>", "the tenant of the prompts after it (repeatable)")
    .option("--prompt <text>", "a prompt (repeatable)")
    .option("--beams <n>", "beams of the search", number, 1)
    .option("--max-new-tokens <n>", "the longest answer", number, 128)
    .option("--chat", "put prompts into the checkpoint's chat template")
    .option("--explain", "add the experts that each layer chose")
    .option("--compile", "compile the decode step: the same texts")
    .action(run(async () => (await import("./commands/generate.js")).generate));
  withPlacement(
    withJson(program.command("routing").description("which experts an adapter gives the prompts of tasks")),
  )
    .requiredOption("--model <model>", "a hub id, a folder, a .gguf file, or smollm2-135m")
    .requiredOption("--adapter <dir>", "an adapter's folder; in a run's folder the figures are kept there")
    .requiredOption("--tasks <a,b>", "tasks, separated by commas")
    .option("--data <dir>", "the folder that holds one folder a task; what it lacks is fetched from the hub")
    .option("--template <name>", "one of the task's templates")
    .option("--limit <n>", "only the first n prompts of each test set", number)
    .option("--explain <n>", "the gates of the first n prompts, one by one", number, 4)
    .option("--out <file>", "write the figures to a JSON file")
    .action(run(async () => (await import("./commands/routing.js")).routingCommand));
  withJson(program.command("score").description("score saved outputs without a model"))
    .requiredOption("--task <name>", "the task that reads the answers")
    .requiredOption("--outputs <file>", "JSON lines of {output, answer, choices?}")
    .option("--reader <name>", "robust or compat", "robust")
    .action(run(async () => (await import("./commands/score.js")).score));
  withJson(program.command("tasks").description("list the tasks"))
    .option("--data <dir>", "the folder that holds one folder a task")
    .action(run(async () => (await import("./commands/tasks.js")).tasks));
};

const registerComparison = (program: Command): void => {
  withJson(
    program
      .command("compare <first> <second>")
      .description("compare two results on the same rows: files of eval --outputs, or run folders"),
  )
    .option("--tasks <a,b>", "only these tasks")
    .action(run(async () => (await import("./commands/compare.js")).compare));
};

const registerReport = (program: Command): void => {
  withJson(
    program
      .command("report <places...>")
      .description("tables and figures of runs, sweeps, results, benches and routing, in one file"),
  )
    .option("--format <name>", "html, md, csv or latex", "html")
    .option("--out <file>", "the report; report.<format> here by default")
    .option("--title <text>", "what the report is called")
    .action(run(async () => (await import("./commands/report.js")).reportCommand));
};

const registerJudging = (program: Command): void => {
  withJson(
    program
      .command("judge <results...>")
      .description("have saved answers of mt-bench rated by a model: files of eval --outputs, or run folders"),
  )
    .requiredOption("--endpoint <url>", "an OpenAI-compatible endpoint, such as http://localhost:8000/v1")
    .requiredOption("--judge-model <name>", "the judge's name at the endpoint")
    .option("--mode <name>", "single (an answer at a time; the default) or pairwise (every two methods, both orders)")
    .option("--judgements <n>", "judgements of the same answers; 1 by default", number)
    .option("--api-key-env <name>", "the environment variable that holds the key; none is sent without it")
    .option("--set <field=value>", "a field of the requests, such as temperature=1 (repeatable; null: none)", collect)
    .option("--concurrency <n>", "requests at once; 4 by default", number)
    .option("--retries <n>", "attempts after a failed first; 5 by default", number)
    .option("--timeout <seconds>", "until an attempt counts as failed; 120 by default", number)
    .option("--price-in <price>", "of a million input tokens", number)
    .option("--price-out <price>", "of a million output tokens", number)
    .option("--budget <amount>", "spend no more than this; needs the prices", number)
    .option("--out <file>", "the file of reviews; the figures lie beside it")
    .option("--yes", "spend what it costs without being asked")
    .action(run(async () => (await import("./commands/judge.js")).judgeCommand));
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
  registerComparison(program);
  registerReport(program);
  registerJudging(program);
  registerUpcycling(program);
  registerBenches(program);
  addExamples(program);
};
