import { afterEach, expect, test, vi } from "vitest";
import { display } from "../../../ts/display/display.js";
import { routingFigure } from "../../../ts/display/routing-figure.js";
import { trainingFigure } from "../../../ts/display/training-figure.js";
import type { TrainEvent } from "../../../ts/runs/events.js";
import { startRun } from "../../../ts/train/run-handle.js";

interface Shown {
  readonly output: unknown;
  readonly forms: Readonly<Record<string, unknown>>;
  readonly update: boolean;
}

/** Stands for a tslab kernel, whose module with the sockets is in its require's cache: what it would show, by output. */
const openNotebook = (): readonly Shown[] => {
  const shown: Shown[] = [];
  const lastWriteDisplayData = (
    { data, transient }: { readonly data: Shown["forms"]; readonly transient: { readonly display_id: string } },
    update: boolean,
  ) => shown.push({ output: transient.display_id, forms: data, update });
  const cache = { "/home/node_modules/tslab/dist/jupyter.js": { exports: { lastWriteDisplayData } } };
  vi.stubGlobal("__tslab__", { require: Object.assign(() => ({}), { cache }) });
  return shown;
};

/** A kernel of which only tslab's public call is known. */
const openOtherNotebook = (): readonly [string, unknown][] => {
  const shown: [string, unknown][] = [];
  const newDisplay = () => ({ raw: (mimeType: string, data: unknown) => shown.push([mimeType, data]) });
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

test("a table is HTML and text in a notebook, and lines in a terminal", () => {
  const table = [
    { method: "a <b>", right: 12, share: 0.123456 },
    { method: "other", right: 3, note: null },
  ];
  const lines = "method  right   share  note\na <b>      12  0.1235  -\nother       3       -  -";
  const shown = openNotebook();
  display(table);
  display(table, { as: "text" });
  expect(shown.map(({ forms }) => Object.keys(forms))).toEqual([["text/html", "text/plain"], ["text/plain"]]);
  expect(shown[0]?.forms["text/html"]).toContain(">a &lt;b&gt;</td>");
  expect(shown[0]?.forms["text/plain"]).toBe(lines);
  vi.unstubAllGlobals();
  const written = terminal();
  display(table);
  expect(written.join("")).toBe(`${lines}\n`);
});

const [svgMime, vegaLiteMime] = ["image/svg+xml", "application/vnd.vegalite.v5+json"];

test("a figure in all forms, or in one; Vega-Lite's data is an object with every point", () => {
  const shown = openNotebook();
  const figure = trainingFigure(events);
  display(figure);
  for (const as of ["svg", "vega-lite", "text"] as const) display(figure, { as });
  expect(shown.map(({ forms }) => Object.keys(forms))).toEqual([
    [svgMime, vegaLiteMime, "text/plain"],
    [svgMime],
    [vegaLiteMime],
    ["text/plain"],
  ]);
  expect(new Set(shown.map(({ output }) => output)).size).toBe(4);
  expect(shown[0]?.forms[vegaLiteMime]).toMatchObject({
    $schema: "https://vega.github.io/schema/vega-lite/v5.json",
    data: {
      values: [
        { series: "training loss", step: 1, value: 3 },
        { series: "training loss", step: 2, value: 2 },
        { series: "dev loss", step: 2, value: 1 },
      ],
    },
  });
});

test("a kernel that is known by tslab's public call alone gets the first form", () => {
  const shown = openOtherNotebook();
  const figure = trainingFigure(events);
  display(figure);
  display([{ rows: 1 }]);
  expect(shown.map(([mimeType]) => mimeType)).toEqual([svgMime, "text/html"]);
  expect(shown[0]?.[1]).toBe(figure.svg);
});

test("SVG is drawn with no browser: curves, titles as text, nothing that is not finite, long runs thinned", () => {
  const { svg } = trainingFigure(events);
  expect(svg).toMatch(/^<svg [^]*<\/svg>$/);
  for (const text of ["training loss", "dev loss", "step (updates)"]) expect(svg).toContain(`>${text}</text>`);
  const many = Array.from({ length: 5_000 }, (_, index) => step(index + 1, index === 7 ? null : 1 / (index + 1)));
  const long = trainingFigure(many);
  expect(long.svg).not.toMatch(/NaN|Infinity|null/);
  expect(JSON.stringify(long.vegaLite).length).toBeLessThan(60_000);
  expect(trainingFigure([]).svg).toMatch(/^<svg [^]*<\/svg>$/);
  expect(Reflect.get(globalThis, "vega")).toBeUndefined();
});

test("a run is drawn in one output until it ends, in all forms then, and gives its result", async () => {
  const shown = openNotebook();
  const run = startRun(async ({ emit }) => {
    for (const event of events) emit(event);
    return result;
  });
  expect(await display(run)).toEqual(result);
  expect(new Set(shown.map(({ output }) => output)).size).toBe(1);
  expect(shown.map(({ update }) => update)).toEqual(shown.map((_, index) => index > 0));
  expect(Object.keys(shown[0]?.forms ?? {})).toEqual([svgMime]);
  expect(shown.at(-1)?.forms).toEqual({
    [svgMime]: trainingFigure(events).svg,
    [vegaLiteMime]: trainingFigure(events).vegaLite,
    "text/plain": trainingFigure(events).text,
  });
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

test("a prompt's routing is a heat map of gates; named texts are panels; a text without it is refused", () => {
  const text = {
    tenant: "home",
    prompt: "Who\nis there?",
    text: "",
    promptTokens: 3,
    newTokens: 0,
    finish: "stop" as const,
  };
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
  const figure = routingFigure({ ...text, routing });
  expect(figure.text).toBe("Who is there?\n  layer 0: down 0.5, q 1.5\n  layer 1: v 1, q 1");
  expect(figure.svg.match(/h34v15h-34Z/g)).toHaveLength(4);
  expect(figure.svg).toContain("Who is there?");
  const both = routingFigure({ first: { ...text, routing }, second: { ...text, routing } });
  expect(both.text).toMatch(/^first\n[^]*\nsecond\n/);
  expect(both.svg).toMatch(/>first<[^]*>second</);
  expect(both.svg.match(/h34v15h-34Z/g)).toHaveLength(8);
  expect(() => routingFigure(text)).toThrow(/no routing/);
});
