import { describe, expect, it } from "vitest";
import { marksOf, numberCell, numberColumn, percent, textCell, textColumn } from "../../../ts/report/cells.js";
import { reportCsv } from "../../../ts/report/csv.js";
import { reportLatex } from "../../../ts/report/latex.js";
import { reportMarkdown } from "../../../ts/report/markdown.js";
import type { Report } from "../../../ts/report/report-model.js";

const values = [0.778, 0.775, 0.734, null];
const marks = marksOf(values, true);

/** Every kind of cell, and characters that a format could trip over. */
const report: Report = {
  title: "Two tasks",
  text: ["Made up."],
  problems: [{ place: "runs/x", problem: "cut\noff" }],
  sections: [
    {
      title: "Section",
      text: ["Text."],
      figures: [],
      tables: [
        {
          title: "ARC-e (accuracy)",
          columns: [
            textColumn("method"),
            { ...numberColumn("activated"), csv: ["lowest", "highest"] },
            numberColumn("50 % & more", "accuracy"),
          ],
          rows: ["MiLoRA", "(IA)³ | λ_x", 'a, "b" & {c}', "中~^\\"].map((name, index) => [
            textCell(name),
            { text: "1 to 2", values: [1, 2] },
            {
              ...numberCell(values[index] ?? null, percent),
              mark: marks[index],
              inside: index === 1,
            },
          ]),
          before: ["Scored: 50 % of $5."],
          notes: ["Best: MiLoRA."],
          context: { task: "arc-e" },
        },
      ],
    },
  ],
};

describe("marksOf", () => {
  it("marks best and second best, lower or higher; equals alike; one value alone not", () => {
    expect(marks).toEqual(["best", "second", undefined, undefined]);
    expect(marksOf([3, 1, 2], false)).toEqual([undefined, "best", "second"]);
    expect(marksOf([2, 2, 1], true)).toEqual(["best", "best", undefined]);
    expect(marksOf([2, 1, 1], true)).toEqual(["best", "second", "second"]);
    expect(marksOf([2, null], true)).toEqual([undefined, undefined]);
  });
});

describe("one report in each format of text", () => {
  it("Markdown: bold, underlined, inside the spread, and what could not be read", async () => {
    await expect(reportMarkdown(report)).toMatchFileSnapshot("golden/report.md");
  });

  it("LaTeX: booktabs, marks, escaped text", async () => {
    await expect(reportLatex(report)).toMatchFileSnapshot("golden/report.tex");
  });

  it("CSV: raw values under names of their own, quoted where need be", () => {
    expect(reportCsv(report)).toBe(
      [
        "section,table,task,method,lowest,highest,accuracy",
        "Section,ARC-e (accuracy),arc-e,MiLoRA,1,2,0.778",
        "Section,ARC-e (accuracy),arc-e,(IA)³ | λ_x,1,2,0.775",
        'Section,ARC-e (accuracy),arc-e,"a, ""b"" & {c}",1,2,0.734',
        "Section,ARC-e (accuracy),arc-e,中~^\\,1,2,",
        "",
      ].join("\n"),
    );
  });
});
