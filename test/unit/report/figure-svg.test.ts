import { describe, expect, it } from "vitest";
import { buildReport } from "../../../ts/report/build-report.js";
import { figureSvg } from "../../../ts/report/figures/figure-svg.js";
import { themes } from "../../../ts/report/figures/theme.js";
import { reportFiles } from "../../../ts/report/render.js";
import type { Report } from "../../../ts/report/report-model.js";
import { readReportInputs } from "../../../ts/report/sources/read-inputs.js";
import { someRuns, writeSweep } from "../../support/report-folders.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const madeUp = async (): Promise<Report> => {
  const folder = await temporaryFolder();
  writeSweep(folder, someRuns);
  return buildReport(await readReportInputs([folder]));
};

const figuresOf = (report: Report) => report.sections.flatMap(({ figures }) => figures);

describe("figures as SVG files", () => {
  it("hold their marks and axes' titles, load nothing, and change every colour of the theme in the dark", async () => {
    const figure = figuresOf(await madeUp()).find(({ title }) => title.startsWith("Accuracy over rank"));
    const svg = figure === undefined ? "" : figureSvg(figure);
    for (const text of ["rank r", "accuracy (median of the seeds)", "lora", "milora"])
      expect(svg).toContain(`>${text}<`);
    expect(svg).toContain("<title>Accuracy over rank r, toy (accuracy)</title>");
    expect(svg).not.toMatch(/(href|src)="|url\(http|NaN|undefined/);
    const colours = new Set([...svg.matchAll(/(?:fill|stroke)="(#[0-9a-f]+)"/g)].map(([, colour]) => colour ?? ""));
    expect(colours.size).toBeGreaterThan(4);
    for (const colour of colours) expect(svg).toContain(`[fill="${colour}"]{fill:`);
    expect(themes.dark.category).toHaveLength(themes.light.category.length);
  });

  it("lie beside Markdown and LaTeX, which show them; every figure's data is a CSV file, beside CSV too", async () => {
    const report = await madeUp();
    const count = figuresOf(report).length;
    const [markdown, ...beside] = await reportFiles(report, "md", "my report.md");
    expect(beside.map(({ name }) => name)).toHaveLength(2 * count);
    for (const { name } of beside) expect(markdown?.text).toContain(`](${name})`);
    expect(beside.find(({ name }) => name.endsWith("-training-loss-toy.csv"))?.text).toMatch(/^series,run,step,value\n"lora, rank=4",/);
    const [latex, ...pictures] = await reportFiles(report, "latex", "a_b.tex");
    expect(pictures.map(({ name }) => name)).toHaveLength(2 * count);
    expect(latex?.text.match(/\\begin\{figure\}/g)).toHaveLength(count);
    expect(latex?.text).toContain(String.raw`\providecommand{\reportfigures}{a-b-figures}`);
    expect((await reportFiles(report, "csv", "r.csv")).map(({ name }) => name.endsWith(".csv"))).toEqual(Array.from({ length: count + 1 }, () => true));
    expect(await reportFiles(report, "html", "r.html")).toHaveLength(1);
  }); // prettier-ignore
});
