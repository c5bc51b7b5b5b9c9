import { execa } from "execa";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rmSync } from "node:fs";
import { packageRoot, pythonRoot } from "../../ts/bridge/environment/index.js";
import { programFile } from "../support/cli.js";
import { workFolder } from "../support/work-folder.js";

const readme = readFileSync(join(packageRoot, "README.md"), "utf8");

/** The code under `<!-- snippet: name -->`. */
const snippet = (name: string): string => {
  const after = readme.split(`<!-- snippet: ${name} -->`)[1] ?? "";
  const [, code] = /```\w+\n([\s\S]*?)```/.exec(after) ?? [];
  if (code === undefined) throw new Error(`README.md has no snippet ${name}`);
  return code;
};

const rows = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, index) => {
    const number = from + index;
    return JSON.stringify({ prompt: `Question: What follows ${number}?\nAnswer:`, answer: ` ${number + 1}` });
  }).join("\n");

let folder = "";

beforeAll(() => {
  folder = workFolder({ remove: false });
  for (const name of ["train.ts", "spec.json", "pipeline.py"]) writeFileSync(join(folder, name), snippet(name));
  writeFileSync(join(folder, "train.jsonl"), rows(0, 60));
  writeFileSync(join(folder, "dev.jsonl"), rows(60, 68));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("README", () => {
  it("has a TypeScript script that compiles and fine-tunes", async () => {
    const options = [
      "--noEmit",
      "--strict",
      "--module",
      "nodenext",
      "--target",
      "es2022",
      "--types",
      "node",
      "--skipLibCheck",
    ];
    await execa("npx", ["tsc", "--ignoreConfig", ...options, join(folder, "train.ts")], { cwd: packageRoot });
    const { stdout } = await execa("node", ["--import", "tsx", "train.ts"], { cwd: folder, timeout: 280_000 });
    expect(stdout).toMatch(/step 10: dev perplexity \d+\.\d+/);
    expect(stdout).toMatch(/\[ '\w+', '\w+', '\w+' \]/);
  });

  it("has a Python pipeline that loads the script's adapter", async () => {
    const python = process.env["MILORA_PYTHON"] ?? "";
    const { stdout } = await execa(python, ["pipeline.py"], {
      cwd: folder,
      env: { PYTHONPATH: pythonRoot, HF_HUB_OFFLINE: "1" },
      timeout: 200_000,
    });
    expect(stdout).toContain("torch.Size([2, 30, 7])");
  });

  it("has commands that work one after another", async () => {
    const bin = join(folder, "bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "milora"), `#!/bin/sh\nexec node "${programFile}" "$@"\n`);
    chmodSync(join(bin, "milora"), 0o755);
    const script = `set -e\n${snippet("commands.sh")}`;
    const path = `${bin}${delimiter}${process.env["PATH"] ?? ""}`;
    const { stdout } = await execa("sh", ["-c", script], { cwd: folder, env: { PATH: path }, timeout: 280_000 });
    expect(stdout).toMatch(/trainable +[\d,]+/);
    expect(stdout).toContain("stopped by max-steps after 4 steps");
    expect(stdout).toMatch(/smart-home +[\d.]+ %/);
    expect(stdout).toMatch(/layer 29: \w+ \w+ \w+/);
  });
});
