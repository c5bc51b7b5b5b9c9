import type { Command } from "commander";
import { collect, number, run, withJson, withPlacement } from "./command-helpers.js";

/** What is measured of a text, and how often. */
const withTexts = (command: Command): Command =>
  withPlacement(command)
    .option("--prompt-tokens <n>", "tokens of a prompt", number, 64)
    .option("--new-tokens <n>", "tokens of a text, whatever they say", number, 32)
    .option("--rounds <n>", "measured texts of each row", number, 5)
    .option("--row-seconds <n>", "the most that one row may take in all; its texts are cut short there", number, 300);

const registerBenchDecode = (bench: Command): void => {
  withTexts(withJson(bench.command("decode").description("the text of one prompt, by method, beams and engine")))
    .requiredOption("--model <model>", "a hub id, a folder, a .gguf file, or smollm2-135m")
    .option(
      "--methods <a,b>",
      "methods, separated by commas; the base stands beside them",
      "base,lora,dora,dora-uncached,moelora,milora,midora",
    )
    .option("--beams <a,b>", "beams, separated by commas", "1,3")
    .option("--top-k <a,b>", "active experts of milora, separated by commas, a row each", "1,3,7")
    .option("--peer <name>", "hf: every row also through transformers' generate")
    .option("--compile", "every row of our engine also with its decode step compiled")
    .option("--adapter <dir>", "also a trained adapter (repeatable)", collect)
    .option("--no-peak", "without memory, which takes a process for each row")
    .action(run(async () => (await import("./commands/bench-decode.js")).benchDecode));
};

const registerBenchTenants = (bench: Command): void => {
  withTexts(withJson(bench.command("tenants").description("batches of many tenants, each with an adapter of its own")))
    .requiredOption("--model <model>", "a hub id, a folder, a .gguf file, or smollm2-135m")
    .option("--methods <a,b>", "methods of the tenants' adapters: milora, midora, lora, dora", "milora")
    .option("--top-k <n>", "active experts of milora", number, 3)
    .option("--tenants <a,b>", "tenants, separated by commas", "1,2,4,8,16,32,64")
    .option("--rows-per-tenant <a,b>", "rows of each tenant, separated by commas", "1,4")
    .option("--peer <name>", "peft (adapter_names with as many LoRAs) or none", "peft")
    .action(run(async () => (await import("./commands/bench-tenants.js")).benchTenants));
};

export const registerBenches = (program: Command): void => {
  const bench = program
    .command("bench")
    .description("measure this machine: each figure beside what it is compared with");
  registerBenchDecode(bench);
  registerBenchTenants(bench);
  withPlacement(
    withJson(bench.command("train").description("training steps, against transformers' Trainer with PEFT's LoRA")),
  )
    .requiredOption("--model <model>", "a hub id, a folder, a .gguf file, or smollm2-135m")
    .option("--methods <a,b>", "methods, separated by commas", "lora,milora")
    .option("--tokens <a,b>", "tokens of a row, separated by commas", "133,32")
    .option("--rounds <n>", "measured steps of each engine", number, 5)
    .option("--batch <n>", "rows of a step", number, 16)
    .option("--compile", "every method of ours also with its layers compiled (train.compile)")
    .option("--curve <n>", "also compare the losses of so many steps in float32", number)
    .action(run(async () => (await import("./commands/bench-train.js")).benchTrain));
};
