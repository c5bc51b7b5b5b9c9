import { z } from "zod";
import { MiloraError } from "../../errors.js";
import { parseWith } from "../../spec/parse.js";
import { createProgress } from "../../util/progress.js";
import { openSession } from "../open-session.js";
import { printResult, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  model: z.string(),
  adapter: z.array(z.string()).default([]),
  beams: z.int().min(1),
  maxNewTokens: z.int().min(1),
  chat: z.boolean().default(false),
  explain: z.boolean().default(false),
  compile: z.boolean().default(false),
  device: z.string(),
  dtype: z.enum(["auto", "float32", "bfloat16", "float16"]),
});

interface TenantPrompt {
  readonly tenant: string | undefined;
  readonly prompt: string;
}

/** The prompts in order; each belongs to the tenant named last before it. */
const tenantPrompts = (argv: readonly string[]): readonly TenantPrompt[] => {
  const prompts: TenantPrompt[] = [];
  let tenant: string | undefined;
  argv.forEach((argument, index) => {
    const [, name, joined] = /^--(tenant|prompt)(?:=([\s\S]*))?$/.exec(argument) ?? [];
    if (name === undefined || isValue(argv, index)) return;
    const value = joined ?? argv[index + 1] ?? "";
    if (name === "tenant") tenant = value;
    else prompts.push({ tenant, prompt: value });
  });
  return prompts;
};

/** Whether the word at `index` is the value of the option before it. */
const isValue = (argv: readonly string[], index: number): boolean =>
  index > 0 && /^--(tenant|prompt)$/.test(argv[index - 1] ?? "") && !isValue(argv, index - 1);

const namedAdapters = (adapters: readonly string[]): readonly { readonly name: string; readonly folder: string }[] =>
  adapters.map((text) => {
    const at = text.indexOf("=");
    if (at <= 0 || at === text.length - 1)
      throw new MiloraError(
        "input/invalid-spec",
        `--adapter ${text}: allowed is name=folder, such as support=runs/a/adapter.`,
      );
    return { name: text.slice(0, at), folder: text.slice(at + 1) };
  });

/** `milora generate`: a text a prompt; with one adapter and no tenant, that adapter answers. */
export const generate = async (context: CommandContext, raw: object): Promise<void> => {
  const options = parseWith(optionsSchema, raw, { what: "The command" });
  const adapters = namedAdapters(options.adapter);
  const prompts = tenantPrompts(process.argv.slice(2));
  if (prompts.length === 0) throw new MiloraError("input/invalid-spec", "generate needs at least one --prompt.");
  if (adapters.length > 1 && prompts.some(({ tenant }) => tenant === undefined))
    throw new MiloraError("input/invalid-spec", "With several adapters each --prompt needs a --tenant before it.", {
      allowed: adapters.map(({ name }) => name).join(", "),
    });
  const { model, device, dtype, chat, explain, compile, beams, maxNewTokens } = options;
  await using milora = await openSession({ model, device, dtype });
  for (const { name, folder } of adapters) await milora.load(name, folder);
  const progress = createProgress({ stream: process.stderr, label: "generate", total: prompts.length });
  const outputs = await milora.generate(
    prompts.map(({ tenant, prompt }) => ({ tenant: tenant ?? adapters[0]?.name, prompt, chat })),
    { explain, compile, beams, maxNewTokens, signal: context.signal, onProgress: (done) => progress.update(done) },
  );
  progress.close();
  printResult(context, { outputs }, () =>
    outputs.flatMap((output) => [
      `# ${output.tenant ?? "base model"}: ${output.prompt}`,
      output.text,
      ...(output.routing?.experts ?? []).map((experts, layer) => `  layer ${layer}: ${experts.join(" ")}`),
      "",
    ]),
  );
};
