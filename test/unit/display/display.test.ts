import { afterEach, expect, test, vi } from "vitest";
import { display } from "../../../ts/display/display.js";
import { routingFigure } from "../../../ts/display/routing-figure.js";
import { trainingFigure } from "../../../ts/display/training-figure.js";
import type { TrainEvent } from "../../../ts/runs/events.js";
import { startRun } from "../../../ts/train/run-handle.js";

interface Shown {
  readonly output: number;
  readonly mimeType: string;
  readonly data: unknown;
}

/** Stands for a tslab kernel: what it would show, by output. */
const openNotebook = (): readonly Shown[] => {
  const shown: Shown[] = [];
  let outputs = 0;
  const newDisplay = () => {
    const output = outputs++;
    return { raw: (mimeType: string, data: unknown) => shown.push({ output, mimeType, data }) };
  };
  vi.stubGlobal("__tslab__", { require: (name: string) => (name === "tslab" ? { newDisplay } : undefined) });
  return shown;
};

/** What a terminal would show. */
const terminal = (): readonly string[] => {
  const written: string[] = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => written.push(String(text)) > 0);
  return written;
};

afterEach(() => {
  vi.unstubAllGlobals();
});

const step = (number: number, loss: number | null): TrainEvent => ({
  type: "step",
  step: number,
  kind: "weights",
  loss,
  balance: null,
  gradientNorm: null,
  learningRate: 1e-3,
  answerTokens: 4,
  tokens: 9,
});
const evaluation: TrainEvent = {
  type: "evaluation",
  step: 2,
  perplexity: Math.E,
  best: true,
  balance: null,
  argmaxShare: null,
};
const events = [step(1, 3), step(2, 2), evaluation];
const result = {
  folder: "run",
  adapter: "run/adapter",
  steps: 2,
  stoppedBy: "max-steps",
  best: null,
  tokensPerSecond: 1,
  skipped: 0,
};

test("a table is HTML in a notebook and lines in a terminal", () => {
  const table = [
    { method: "a <b>", right: 12, share: 0.123456 },
    { method: "other", right: 3, note: null },
  ];
  const shown = openNotebook();
  display(table);
  expect(shown).toHaveLength(1);
  expect(shown[0]?.mimeType).toBe("text/html");
  expect(shown[0]?.data).toContain('<td>a &lt;b&gt;</td><td style="text-align:right">12</td>');
  vi.unstubAllGlobals();
  const written = terminal();
  display(table);
  expect(written.join("")).toBe("method  right   share  note\na <b>      12  0.1235  -\nother       3       -  -\n");
});

test("a figure by each mime type; Vega-Lite's data is an object with every point", () => {
  const shown = openNotebook();
  const figure = trainingFigure(events);
  display(figure);
  display(figure, { as: "vega-lite" });
  display(figure, { as: "text" });
  expect(shown.map(({ mimeType }) => mimeType)).toEqual([
    "image/svg+xml",
    "application/vnd.vegalite.v5+json",
    "text/plain",
  ]);
  expect(new Set(shown.map(({ output }) => output)).size).toBe(3);
  expect(shown[1]?.data).toMatchObject({
    data: {
      values: [
        { series: "training loss", x: 1, y: 3 },
        { series: "training loss", x: 2, y: 2 },
        { series: "dev loss", x: 2, y: 1 },
      ],
    },
  });
  expect(figure.svg).toMatch(/^<svg [^]*<polyline points="56\.0,48\.0 624\.0,154\.0"[^]*<\/svg>$/);
});

test("values that are not finite leave the curve whole, and long runs are thinned", () => {
  const many = Array.from({ length: 5_000 }, (_, index) => step(index + 1, index === 7 ? null : 1 / (index + 1)));
  const { svg } = trainingFigure(many);
  expect(svg).not.toMatch(/NaN|Infinity|null/);
  expect(svg.length).toBeLessThan(20_000);
  expect(trainingFigure([]).svg).not.toContain("NaN");
});

test("a run is drawn in one output until it ends, and gives its result", async () => {
  const shown = openNotebook();
  const run = startRun(async ({ emit }) => {
    for (const event of events) emit(event);
    return result;
  });
  expect(await display(run)).toEqual(result);
  expect(new Set(shown.map(({ output }) => output))).toEqual(new Set([0]));
  expect(shown.at(-1)?.data).toBe(trainingFigure(events).svg);
});

test("an interrupt stops the run that is watched, and no listener stays", async () => {
  openNotebook();
  const before = process.listenerCount("SIGINT");
  const run = startRun(async ({ emit, stopping, stopReason }) => {
    emit(evaluation);
    await new Promise((resolve) => stopping.addEventListener("abort", resolve));
    return { ...result, stoppedBy: stopReason() ?? "" };
  });
  const watched = display(run);
  await Promise.resolve();
  process.emit("SIGINT");
  expect((await watched).stoppedBy).toBe("interrupted");
  expect(process.listenerCount("SIGINT")).toBe(before);
});

test("a run that fails throws its error after what there is was drawn", async () => {
  const shown = openNotebook();
  const run = startRun(async ({ emit }) => {
    emit(evaluation);
    throw new Error("no memory");
  });
  await expect(display(run)).rejects.toThrow("no memory");
  expect(shown.length).toBeGreaterThan(0);
});

test("a prompt's routing is a heat map of gates; a text without it is refused", () => {
  const text = { tenant: "home", prompt: "Who\nis there?", text: "", promptTokens: 3, newTokens: 0 };
  const routing = {
    experts: [
      ["down", "q"],
      ["v", "q"],
    ],
    gates: [
      [0.5, 1.5],
      [1, 1],
    ],
  };
  const figure = routingFigure({ ...text, finish: "stop", routing });
  expect(figure.text).toBe("Who is there?\n  layer 0: q 1.5, down 0.5\n  layer 1: q 1, v 1");
  expect(figure.svg.match(/<rect /g)).toHaveLength(14);
  expect(() => routingFigure({ ...text, finish: "stop" })).toThrow(/no routing/);
});
