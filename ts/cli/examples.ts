import type { Command } from "commander";

const model = "--model smollm2-135m";

/** Lines that work as they stand, by the command that they begin with; `--help` shows them, a test parses them. */
const commandExamples: Readonly<Record<string, readonly string[]>> = {
  setup: ["setup --demo", "setup --json"],
  doctor: ["doctor", "doctor --ray"],
  quickstart: ["quickstart", "quickstart --out runs/first --seed 1"],
  schema: ["schema", "schema sweep"],
  params: ["params smollm2-135m --method milora --set rank=8", "params meta-llama/Llama-2-7b-hf --method lora --json"],
  train: [
    "train spec.json --out runs/mine",
    "train spec.yaml --set train.epochs=2 --set method.rank=8",
    "train spec.json --dry-run",
    "train spec.json --out runs/mine --resume --allow train.maxSteps --set train.maxSteps=400",
  ],
  sweep: [
    "sweep sweep.json --out sweeps/mine --jobs 2",
    "sweep sweep.json --dry-run --trial",
    "sweep sweep.json --only lora",
    "sweep sweep.json --out /shared/sweeps/mine --ray",
  ],
  reproduce: [
    `reproduce table-5 ${model} --data data --scale small --jobs 2`,
    "reproduce table-1 --model meta-llama/Llama-2-7b-hf --data data --dry-run",
  ],
  eval: [
    `eval ${model} --tasks smart-home --limit 20`,
    `eval ${model} --adapter runs/mine/adapter --tasks arc-easy,piqa --data data --scorer loglik`,
    `eval ${model} --tasks gsm8k --beams 3 --max-new-tokens 256 --outputs base.json`,
  ],
  generate: [
    `generate ${model} --prompt "Request: Turn off the kitchen light."`,
    `generate ${model} --adapter home=runs/mine/adapter --tenant home --prompt "Request: Turn off the light." --explain`,
    `generate ${model} --chat --prompt "Which colour is the sky?" --json`,
  ],
  routing: [`routing ${model} --adapter runs/mine/adapter --tasks smart-home --limit 20`],
  score: [
    "score --task gsm8k --outputs outputs.jsonl",
    "score --task boolq --outputs outputs.jsonl --reader compat --json",
  ],
  tasks: ["tasks", "tasks --data data --json"],
  compare: ["compare base.json runs/mine", "compare runs/lora runs/milora --tasks arc-easy"],
  report: ["report runs/mine", "report sweeps/mine decode.json --format latex --out tables.tex"],
  judge: [
    "judge runs/mine --endpoint http://localhost:8000/v1 --judge-model judge",
    "judge milora=runs/mine base=base.json --mode pairwise --endpoint https://judge.example/v1 --judge-model judge --api-key-env JUDGE_KEY --price-in 2 --price-out 8 --budget 5",
  ],
  import: [`import adapters/lora ${model} --out adapters/milora --set topK=3`],
  export: [
    "export runs/mine/adapter --out adapters/lora",
    "export runs/mine/adapter --policy policy.json --out adapters/lora",
  ],
  "bench decode": [
    `bench decode ${model} --dtype float32 --peer hf`,
    `bench decode ${model} --methods milora --top-k 3 --beams 1 --no-peak`,
    `bench decode ${model} --methods lora --adapter runs/milora/adapter --json`,
  ],
  "bench tenants": [
    `bench tenants ${model} --dtype float32`,
    `bench tenants ${model} --tenants 8 --rows-per-tenant 1 --methods milora,lora --json`,
    `bench tenants ${model} --tenants 1,8,64 --peer none`,
  ],
  "bench train": [`bench train ${model} --methods lora,milora --tokens 133,32 --rounds 5 --curve 20`],
};

/** Every command that does something, with its whole name. */
export const leafCommands = (program: Command): readonly (readonly [name: string, command: Command])[] =>
  program.commands.flatMap((command) =>
    command.commands.length === 0
      ? [[command.name(), command] as const]
      : leafCommands(command).map(([name, leaf]) => [`${command.name()} ${name}`, leaf] as const),
  );

/** The examples of a command, each behind the program's name. */
export const examplesOf = (name: string): readonly string[] =>
  (commandExamples[name] ?? []).map((line) => `milora ${line}`);

/** Puts each command's examples at the end of its help. */
export const addExamples = (program: Command): void => {
  for (const [name, command] of leafCommands(program)) {
    command.addHelpText("after", ["", "Examples:", ...examplesOf(name).map((line) => `  ${line}`)].join("\n"));
  }
};
