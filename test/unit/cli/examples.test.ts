import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { examplesOf, leafCommands } from "../../../ts/cli/examples.js";
import { registerCommands } from "../../../ts/cli/register.js";

/** The program with commands that do nothing but tell that they were reached. */
const programOf = (reached: string[]): Command => {
  const program = new Command("milora").exitOverride();
  registerCommands(program);
  for (const [name, command] of leafCommands(program)) {
    command.exitOverride().configureOutput({ writeErr: () => undefined });
    command.action(() => void reached.push(name));
  }
  return program;
};

const words = (line: string): readonly string[] =>
  [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");

describe("the examples of --help", () => {
  const names = leafCommands(programOf([])).map(([name]) => name);

  it.each(names)("%s has some, and they parse", async (name) => {
    const examples = examplesOf(name);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) {
      const reached: string[] = [];
      await programOf(reached).parseAsync(words(example).slice(1), { from: "user" });
      expect(reached, example).toEqual([name]);
    }
  });

  it("are at the end of each command's help", () => {
    for (const [name, command] of leafCommands(programOf([]))) {
      let help = "";
      command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
      expect(help).toMatch(/Examples:\n {2}milora /);
      for (const example of examplesOf(name)) expect(help).toContain(example);
    }
  });

  it("a wrong option would be told", async () => {
    await expect(programOf([]).parseAsync(["train", "spec.json", "--outt", "x"], { from: "user" })).rejects.toThrow(
      "unknown option",
    );
  });
});
