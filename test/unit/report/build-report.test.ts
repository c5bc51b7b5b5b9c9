import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { buildReport } from "../../../ts/report/build-report.js";
import { reportMarkdown } from "../../../ts/report/markdown.js";
import { readReportInputs } from "../../../ts/report/sources/read-inputs.js";
import {
  answers,
  decodeBench,
  judged,
  someRuns,
  taskRouting,
  tenantsBench,
  writeRouting,
  writeRun,
  writeSweep,
} from "../../support/report-folders.js";
import { madeUpResult } from "../../support/results.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const reportOf = async (...paths: readonly string[]) => buildReport(await readReportInputs(paths));

const titlesOf = (items: readonly { readonly title: string }[] | undefined) => items?.map(({ title }) => title);

describe("a sweep", () => {
  it("has its tables, marked, and figures of results, settings, curves and experts", async () => {
    const folder = await temporaryFolder();
    writeSweep(folder, someRuns);
    const { sections, problems } = await reportOf(folder);
    expect(problems).toEqual([]);
    expect(titlesOf(sections)).toEqual(["Made up"]);
    expect(titlesOf(sections[0]?.tables)).toEqual(["toy (accuracy)", "toy (accuracy): against lora, rank=4, row by row"]);
    expect(titlesOf(sections[0]?.figures)).toEqual([
      "Accuracy against activated parameters, toy (accuracy)",
      "Accuracy over rank r, toy (accuracy)",
      "Training loss, toy",
      "Dev perplexity, toy",
      "Experts by task, toy",
    ]);
    const [table] = sections[0]?.tables ?? [];
    const place = table?.columns.findIndex(({ title }) => title === "median") ?? -1;
    const marked = table?.rows.flatMap((row) => (row[place]?.mark === undefined ? [] : [[row[0]?.text, row[place]?.mark]]));
    expect(marked).toEqual([
      ["lora, rank=16", "second"],
      ["milora, rank=16", "best"],
    ]);
  }); // prettier-ignore

  it("the curve of a setting has a point a value for each method, and none of methods without the setting", async () => {
    const folder = await temporaryFolder();
    writeSweep(folder, someRuns);
    const [section] = (await reportOf(folder)).sections;
    const figure = section?.figures.find(({ title }) => title.startsWith("Accuracy over rank"));
    expect(figure?.data).toHaveLength(6);
    expect(figure?.data[5]).toEqual({ method: "milora", value: 16, median: 0.725, lowest: 0.71, highest: 0.74 });
    expect(new Set(figure?.data.map(({ method }) => method))).toEqual(new Set(["lora", "milora"]));
  });

  it("with a broken record shows its runs by themselves", async () => {
    const folder = await temporaryFolder();
    writeSweep(folder, someRuns);
    writeFileSync(join(folder, "sweep.json"), readFileSync(join(folder, "sweep.json"), "utf8").slice(0, 500));
    const { sections, problems } = await reportOf(folder);
    expect(titlesOf(sections)).toEqual(["Runs", "Scores"]);
    expect(sections[0]?.tables[0]?.rows).toHaveLength(someRuns.length);
    expect(problems).toMatchObject([{ place: join(folder, "sweep.json"), problem: expect.stringContaining("JSON") }]);
  });
});

describe("what is broken, partial or old", () => {
  const run = { kind: "milora", rank: 8, seed: 0, right: answers(60, 100, 1) } as const;

  it("an event cut short, a result cut in half: the rest is shown, each is listed", async () => {
    const folder = await temporaryFolder();
    writeRun(folder, run);
    appendFileSync(join(folder, "events.jsonl"), '{"type":"step","step":');
    writeFileSync(join(folder, "results", "other.json"), '{"task":"other"');
    const { sections, problems } = await reportOf(folder);
    expect(problems.map(({ problem }) => problem)).toEqual([
      "1 line could not be read, the first is line 43.",
      expect.stringContaining("is not JSON"),
    ]);
    expect(sections.flatMap(({ figures }) => titlesOf(figures))).toEqual([
      "Training loss",
      "Dev perplexity",
      "Experts by task",
    ]);
    expect(sections[1]?.tables[0]?.rows).toHaveLength(1);
  });

  it("a record of another version: its known fields are shown", async () => {
    const folder = await temporaryFolder();
    writeRun(folder, run);
    const record: object = JSON.parse(readFileSync(join(folder, "run.json"), "utf8"));
    writeFileSync(join(folder, "run.json"), JSON.stringify({ ...record, format: 9, best: "new form", dtype: 5 }));
    const { sections, problems } = await reportOf(folder);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.problem).toContain("format");
    const cells = sections[0]?.tables[0]?.rows[0]?.map(({ text }) => text);
    expect(cells?.slice(1, 9)).toEqual(["milora", "m", "arc-easy", "0", "finished", "40", "steps", "-"]);
  });

  it("no record, no events: what is there is shown", async () => {
    const folder = await temporaryFolder();
    writeRun(folder, run);
    rmSync(join(folder, "run.json"));
    rmSync(join(folder, "events.jsonl"));
    const { sections, problems } = await reportOf(folder);
    expect(problems.map(({ place }) => place)).toEqual([join(folder, "run.json"), join(folder, "events.jsonl")]);
    expect(titlesOf(sections)).toEqual(["Runs", "Scores"]);
  });

  it("a run that is gone from a sweep: its score is shown, without curves", async () => {
    const folder = await temporaryFolder();
    const [first = ""] = writeSweep(folder, someRuns);
    rmSync(first, { recursive: true });
    const { sections, problems } = await reportOf(folder);
    expect(problems).toMatchObject([{ place: first }]);
    expect(sections[0]?.tables[0]?.rows).toHaveLength(7);
  });

  it("nothing readable: a report that says so; a path that is not there: an error", async () => {
    const folder = await temporaryFolder();
    const report = await reportOf(folder);
    expect(report).toMatchObject({ sections: [], problems: [{ place: folder }] });
    expect(reportMarkdown(report)).toContain("Nothing could be read.");
    await expect(readReportInputs([join(folder, "none")])).rejects.toMatchObject({ code: "input/missing-file" });
  });
});

describe("folders of runs, and files", () => {
  it("takes every run in a folder; marks only what is scored alike; a difference inside the interval is called so", async () => {
    const folder = await temporaryFolder();
    for (const [name, correct] of [["a", 60], ["b", 63], ["c", 20]] as const)
      writeRun(join(folder, name), { kind: "lora", rank: 4, seed: 0, right: answers(correct, 100, 3) });
    const file = join(folder, "one.json");
    writeFileSync(file, JSON.stringify({ results: [madeUpResult("1101", { chance: 0.25 })] }));
    const { sections } = await reportOf(folder, file);
    const [marked, single] = sections[1]?.tables ?? [];
    const told = marked?.rows.map(([name, , , accuracy]) => [name?.text, accuracy?.mark, accuracy?.inside]);
    expect(told).toEqual([["a", "second", true], ["b", "best", false], ["c", undefined, false]]);
    expect(single?.rows.map((row) => row.map(({ text }) => text))).toEqual([
      ["one.json", "-", "-", "75.0 %", "30.1 % to 95.4 %", "4", "0"],
    ]);
  }); // prettier-ignore

  it("judged answers: means by turn and category, best and second marked, what the interval can't tell apart", async () => {
    const folder = await temporaryFolder();
    writeFileSync(join(folder, "mt-bench.json"), JSON.stringify(judged));
    const { sections, problems } = await reportOf(folder);
    expect(problems).toEqual([]);
    expect(titlesOf(sections)).toEqual(["Judged answers"]);
    const [single, pair] = sections[0]?.tables ?? [];
    expect(single?.columns.map(({ title }) => title)).toEqual([
      "method", "mean", "95 %", "turn 1", "turn 2", "writing", "math", "answers scored", "without a score",
    ]);
    const means = single?.rows.map(([label, mean]) => [label?.text, mean?.text, mean?.mark, mean?.inside]);
    expect(means).toEqual([["milora", "7.21", "best", false], ["moelora", "7.08", "second", true], ["base", "3.00", undefined, false]]);
    expect(single?.rows.map((row) => row[6]?.mark)).toEqual(["second", "best", undefined]);
    expect(single?.notes.at(-1)).toBe("2 judgements without a rating: missing, not 0.");
    // 2 · (1 + 10 + 45) / 2¹⁰.
    expect(pair?.notes[0]).toContain("milora won 8 answers, moelora 2, 3 ties: milora is inside the noise (exact sign test of the answers that one won, p = 0.1094)");
    expect(sections[0]?.figures[0]?.data).toHaveLength(6);
  }); // prettier-ignore

  it("a run's routing and its prompts' gates are shown, of a run by itself and in a sweep; a broken file is listed", async () => {
    const folder = await temporaryFolder();
    const [first = "", second = ""] = writeSweep(join(folder, "sweep"), someRuns);
    const preamble = "Below is an instruction that describes a task: ";
    writeRouting(first, "piqa", [`${preamble}one`, `${preamble}two`]);
    mkdirSync(join(second, "routing"));
    writeFileSync(join(second, "routing", "piqa.json"), '{"format":1');
    const { sections, problems } = await reportOf(folder);
    expect(problems.map(({ place }) => place)).toEqual([join(second, "routing", "piqa.json")]);
    const routing = sections.find(({ title }) => title === "Routing");
    expect(routing?.tables[0]?.rows.map((row) => row.slice(0, 3).map(({ text }) => text))).toEqual([["piqa", "toy/lora, rank=4/seed-0", "50.0 %"]]);
    expect(titlesOf(routing?.figures)).toEqual(["Active experts by layer and task", "Active experts by layer and prompt"]);
    const panels = routing?.figures.map(({ data }) => [...new Set(data.map(({ panel }) => panel))]);
    expect(panels).toEqual([
      ["piqa · toy/lora, rank=4/seed-0"],
      ["piqa, toy/lora, rank=4/seed-0 · 1. …one", "piqa, toy/lora, rank=4/seed-0 · 2. …two"],
    ]);
    expect(routing?.figures[1]?.data[0]).toMatchObject({ row: "0", column: "q", value: 1.2 });
  }); // prettier-ignore

  it("benches and routing have their tables and figures", async () => {
    const folder = await temporaryFolder();
    const files = Object.entries({ decode: decodeBench, tenants: tenantsBench, routing: taskRouting }).map(([name, value]) => {
      const file = join(folder, `${name}.json`);
      writeFileSync(file, JSON.stringify(value));
      return file;
    });
    const prompts = join(folder, "prompts.json");
    const routing = { experts: [["q", "up"], ["down"]], gates: [[1.2, 0.8], [1]] };
    writeFileSync(prompts, JSON.stringify({ outputs: [{ prompt: "Why?", routing }, { prompt: "Base", routing: null }] }));
    const { sections, problems } = await reportOf(...files, prompts);
    expect(problems).toEqual([]);
    expect(sections.map(({ title, tables, figures }) => [title, titlesOf(tables), titlesOf(figures)])).toEqual([
      [
        "Speed and memory",
        ["Decoding, decode.json", "Many tenants, tenants.json"],
        ["Decoding speed, decode.json", "Speed over tenants, tenants.json"],
      ],
      [
        "Routing",
        ["Share of the layers in which each expert is active"],
        ["Active experts by layer and task", "Active experts by layer and prompt"],
      ],
    ]);
    expect(sections[1]?.figures[1]?.data).toHaveLength(6);
    expect(sections[1]?.figures[1]?.data[1]).toEqual({ panel: "1. Why?", row: "0", column: "up", value: 0.8 });
  }); // prettier-ignore
});
