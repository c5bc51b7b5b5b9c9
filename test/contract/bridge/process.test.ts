import { expect, test } from "vitest";
import { endsWithin, startScript } from "../../fixtures/bridge/support.js";

const pidOf = (line: string): number => Number(/\d+/.exec(line)?.[0]);

test("a script that forgets to close ends by itself, and Python with it", async () => {
  const { code, stdout, hung } = await startScript("ends-by-itself.ts").result;
  expect({ code, hung }).toEqual({ code: 0, hung: false });
  expect(stdout).toContain('done [true,{"last":1}]');
  expect(await endsWithin(pidOf(/pid \d+/.exec(stdout)?.[0] ?? ""), 2000)).toBe(true);
});

test("DEBUG in the environment prints nothing and breaks nothing", async () => {
  const { code, stdout, stderr } = await startScript("ends-by-itself.ts", { env: { DEBUG: "jspybridge" } }).result;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.trim().split("\n")).toHaveLength(1);
});

test.each(["auto", "poll"])("Node killed with -9 while Python is busy: Python ends (%s)", async (watch) => {
  const script = startScript("busy.ts", { args: ["", watch] });
  const python = pidOf(await script.line("busy"));
  script.child.kill("SIGKILL");
  expect(await endsWithin(python, 2000)).toBe(true);
});

test("SIGINT to both: a program that handles it gets its result", async () => {
  const script = startScript("busy.ts", { args: ["handles-interrupt"], group: true });
  await script.line("busy");
  process.kill(-(script.child.pid ?? 0), "SIGINT");
  const { code, stdout } = await script.result;
  expect(code).toBe(0);
  expect(stdout).toMatch(/interrupted\ncompleted\n$/);
});

test("SIGINT to both: a program that does not handle it ends, and Python with it", async () => {
  const script = startScript("busy.ts", { group: true });
  const python = pidOf(await script.line("busy"));
  process.kill(-(script.child.pid ?? 0), "SIGINT");
  const { code, hung } = await script.result;
  expect(hung).toBe(false);
  expect(code).not.toBe(0);
  expect(await endsWithin(python, 2000)).toBe(true);
});
