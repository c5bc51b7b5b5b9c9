import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { expect, test } from "vitest";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { fastest } from "../support/timing.js";
import { temporaryFolder } from "../support/temporary-folder.js";

const program = (name: string): string =>
  `console.log(JSON.stringify([${JSON.stringify(name)}, ...process.argv.slice(2)]));\nprocess.exitCode = Number(process.env["CODE"] ?? 0);\n`;

/** A checkout with the real set-up and a program of two lines; its packages are this checkout's. */
const smallCheckout = async () => {
  const folder = await temporaryFolder();
  for (const name of ["package.json", "package-lock.json", "tsconfig.json", "tsconfig.build.json", "scripts"]) {
    cpSync(join(packageRoot, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(packageRoot, "node_modules"), join(folder, "node_modules"));
  mkdirSync(join(folder, "ts", "cli"), { recursive: true });
  const source = join(folder, "ts", "cli", "main.ts");
  writeFileSync(source, program("first"));
  return {
    folder,
    source,
    lock: join(folder, ".bootstrap", "lock"),
    run: (args: readonly string[], code = "0") =>
      execa(process.execPath, ["scripts/bootstrap.mjs", ...args], { cwd: folder, env: { CODE: code }, reject: false }),
  };
};

test("arguments and the exit code pass through; stdout holds the program's output alone", async () => {
  const { run } = await smallCheckout();
  const result = await run(["milora", "train", "--set", "a b"], "7");
  expect(result.stdout).toBe('["first","train","--set","a b"]');
  expect(result.exitCode).toBe(7);
  expect(result.stderr).toContain("compiling TypeScript");
});

test("a second call does nothing and costs well under a second", async () => {
  const { run } = await smallCheckout();
  await run(["build"]);
  const again = async (): Promise<void> => {
    expect(await run(["milora"])).toMatchObject({ stdout: '["first"]', stderr: "" });
  };
  expect(await fastest(3, again)).toBeLessThan(1_000);
});

test("a changed source, a missing output, a missing stamp: compiled anew", async () => {
  const { run, source, folder } = await smallCheckout();
  await run(["build"]);
  writeFileSync(source, program("second"));
  expect((await run(["milora"])).stdout).toBe('["second"]');
  rmSync(join(folder, "dist", "cli", "main.js"));
  expect((await run(["milora"])).stdout).toBe('["second"]');
  rmSync(join(folder, ".bootstrap"), { recursive: true });
  expect((await run(["milora"])).stdout).toBe('["second"]');
});

test("a source that does not compile: tsc's message, exit code 1, and the old dist stays whole", async () => {
  const { run, source, folder } = await smallCheckout();
  await run(["build"]);
  writeFileSync(source, "const wrong: number = 'text';\n");
  const result = await run(["milora"]);
  expect(result).toMatchObject({ exitCode: 1, stdout: "" });
  expect(result.stderr).toMatch(/TS2322[\s\S]*do not compile/u);
  expect(readFileSync(join(folder, "dist", "cli", "main.js"), "utf8")).toContain("first");
});

test.each([
  ["of a process that is gone", '{"holder":{"pid":999999999,"start":"1"}}'],
  ["of a pid that is another process's by now", `{"holder":{"pid":${process.pid},"start":"an earlier start"}}`],
  ["cut off", '{"holder":'],
])("a lock %s is taken over", async (_name, content) => {
  const { run, folder, lock } = await smallCheckout();
  mkdirSync(join(folder, ".bootstrap"));
  writeFileSync(lock, content);
  expect((await run(["milora"])).stdout).toBe('["first"]');
});

test("calls at once: one compiles, the others wait", async () => {
  const { run } = await smallCheckout();
  const results = await Promise.all([run(["milora", "1"]), run(["milora", "2"]), run(["milora", "3"])]);
  expect(results.map(({ stdout }) => stdout)).toEqual(['["first","1"]', '["first","2"]', '["first","3"]']);
  expect(results.filter(({ stderr }) => stderr.includes("compiling"))).toHaveLength(1);
});

test("killed while compiling: the next call repairs", async () => {
  const { run } = await smallCheckout();
  const first = run(["build"]);
  for await (const line of first.iterable({ from: "stderr" })) {
    if (line.includes("compiling")) first.kill("SIGKILL");
  }
  expect(await run(["milora"])).toMatchObject({ stdout: '["first"]', exitCode: 0 });
});

test("an unknown command is named, with those there are", async () => {
  const { run } = await smallCheckout();
  const result = await run(["tests"]);
  expect(result).toMatchObject({ exitCode: 2, stdout: "" });
  expect(result.stderr).toContain('unknown command "tests"; there are: milora, build, test');
});
