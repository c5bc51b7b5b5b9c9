#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { endWithSweep } from "../sweep/end-with-parent.js";
import { tellMachine } from "../sweep/machine.js";
import { registerCommands } from "./register.js";
import { printError } from "./output.js";

const version = (): string => {
  const value: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return typeof value === "object" && value !== null && "version" in value ? String(value.version) : "unknown";
};

const main = async (): Promise<void> => {
  const program = new Command("milora")
    .description("Fine-tune Hugging Face checkpoints with prompt-routed adapters (MiLoRA) and use them.")
    .version(version())
    .showHelpAfterError("(milora --help lists the commands)")
    .exitOverride();
  registerCommands(program);
  try {
    await program.parseAsync();
  } catch (error) {
    // Commander has told its own errors already; wrong usage is wrong input.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else process.exitCode = printError(error, process.argv.includes("--json"));
  }
};

endWithSweep();
tellMachine();
void main();
