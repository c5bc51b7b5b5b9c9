import { execa } from "execa";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rmSync } from "node:fs";
import { rowFile, snippet } from "../../scripts/lib/package-trial/files.js";
import { packageRoot, pythonRoot } from "../../ts/bridge/environment/index.js";
import { programFile } from "../support/cli.js";
import { workFolder } from "../support/work-folder.js";

let folder = "";
const python = process.env["MILORA_PYTHON"] ?? "";

/** A snippet as it stands, with a tiny model in place of the demo model, which would take minutes. */
const tinySnippet = (name: string): string => snippet(name).replaceAll("smollm2-135m", join(folder, "model"));

beforeAll(async () => {
  folder = workFolder({ remove: false });
  const fixture = join(packageRoot, "test", "fixtures", "python", "make_example_files.py");
  await execa(python, [fixture, folder], { timeout: 120_000 });
  for (const name of ["train.ts", "spec.json", "pipeline.py"]) writeFileSync(join(folder, name), tinySnippet(name));
  writeFileSync(join(folder, "train.jsonl"), rowFile(0, 60));
  writeFileSync(join(folder, "dev.jsonl"), rowFile(60, 68));
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
    const { stdout } = await execa(python, ["pipeline.py"], {
      cwd: folder,
      env: { PYTHONPATH: pythonRoot, HF_HUB_OFFLINE: "1" },
      timeout: 200_000,
    });
    expect(stdout).toContain("torch.Size([2, 2, 7])");
  });

  it("has commands that work one after another", async () => {
    const bin = join(folder, "bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "milora"), `#!/bin/sh\nexec node "${programFile}" "$@"\n`);
    chmodSync(join(bin, "milora"), 0o755);
    const script = `set -e\n${tinySnippet("commands.sh")}`;
    const path = `${bin}${delimiter}${process.env["PATH"] ?? ""}`;
    const { stdout } = await execa("sh", ["-c", script], { cwd: folder, env: { PATH: path }, timeout: 280_000 });
    expect(stdout).toMatch(/trainable +[\d,]+/);
    expect(stdout).toContain("stopped by max-steps after 4 steps");
    expect(stdout).toMatch(/smart-home +[\d.]+ %/);
    expect(stdout).toMatch(/layer 1: \w+ \w+ \w+/);
  });
});
