import { expect, test } from "vitest";
import type { BackendEvent } from "../../../ts/backend/backend.js";
import type { LogLine } from "../../../ts/bridge/index.js";
import { useHazards } from "../../fixtures/bridge/support.js";

const lines: LogLine[] = [];
const session = useHazards({ onLog: (line) => lines.push(line) });

const isProgress = (event: BackendEvent): event is BackendEvent & { type: "progress" } => event.type === "progress";

test("all output becomes log lines, a line each", async () => {
  lines.length = 0;
  await session().call("talk", {});
  await expect.poll(() => lines.some(({ text }) => text === "C level stderr")).toBe(true);
  await expect.poll(() => lines.some(({ text }) => text === "C level stdout")).toBe(true);
  const ofStream = (stream: LogLine["stream"]): string[] =>
    lines.filter((line) => line.stream === stream && !line.text.startsWith("C level")).map(({ text }) => text);
  expect(ofStream("stdout")).toEqual(["{}", '{"r": 1, "key": "int", "val": 5}', "bar 1", "bar 2", "no line end"]);
  expect(ofStream("stderr")).toEqual(["to stderr"]);
  const logged = lines.filter(({ stream }) => stream === "log");
  expect(logged.map(({ level }) => level)).toEqual(["warning", "error"]);
  expect(logged[0]?.text).toContain("UserWarning: a warning");
  expect(logged[1]?.text).toBe("somebody: a record");
});

test("events arrive in order, all of them before the result", async () => {
  const seen: string[] = [];
  const result = session().call(
    "events",
    { count: 200 },
    { onEvent: (event) => seen.push(event.type === "log" ? event.text : event.stage) },
  );
  await result.then(() => seen.push("result"));
  const expected = Array.from({ length: 200 }, (_, number) => [`log ${number}`, `print ${number}`, `stage ${number}`]);
  expect(seen).toEqual([...expected.flat(), "result"]);
});

test("steps are told at most 20 times a second, the first and the last always, and cost little", async () => {
  const events: BackendEvent[] = [];
  const count = 300_000;
  const result = await session().call("burst", { count }, { onEvent: (event) => events.push(event) });
  const steps = events.filter(isProgress);
  expect(steps[0]).toEqual({ type: "progress", stage: "burst", done: 0, total: count });
  expect(steps.at(-1)).toEqual({ type: "progress", stage: "burst", done: count, total: count });
  const { seconds } = Object(result);
  expect(steps.length).toBeLessThanOrEqual(Number(seconds) * 20 + 3);
  expect(result).toHaveProperty("secondsPerStep", expect.closeTo(0, 5));
});

test("events of a call do not reach the next one", async () => {
  const first: BackendEvent[] = [];
  const second: BackendEvent[] = [];
  await Promise.all([
    session().call("events", { count: 3 }, { onEvent: (event) => first.push(event) }),
    session().call("echo", {}, { onEvent: (event) => second.push(event) }),
  ]);
  expect(first).toHaveLength(9);
  expect(second).toEqual([]);
});

test("three threads print at once: every line whole", async () => {
  lines.length = 0;
  await session().call("talk_from_threads", { lines: 300 });
  expect(lines).toHaveLength(900);
  expect(lines.every(({ text }) => /^[abc] \d+ x{200}$/.test(text))).toBe(true);
});

test("print in a raw call is a log line too", async () => {
  lines.length = 0;
  await (await session().python("builtins")).print("raw", "{}");
  expect(lines).toEqual([{ stream: "stdout", level: "info", text: "raw {}" }]);
});

test("bars and advice of the libraries are off before they are imported", async () => {
  const names = ["HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE", "TRANSFORMERS_VERBOSITY", "TOKENIZERS_PARALLELISM"];
  expect(await session().call("environment", { names })).toMatchObject({
    values: {
      HF_HUB_DISABLE_PROGRESS_BARS: "1",
      TQDM_DISABLE: "1",
      TRANSFORMERS_VERBOSITY: "error",
      TOKENIZERS_PARALLELISM: "false",
    },
  });
});
