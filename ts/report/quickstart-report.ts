import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { TrainEvent } from "../runs/events.js";
import { writeFileAtomic } from "../util/files.js";

interface Score {
  readonly accuracy: number | null;
  readonly correct: number;
  readonly total: number;
  readonly unparsed: number;
  readonly interval: readonly [number, number];
  readonly protocol: string;
}

interface QuickstartReport {
  /** The run's folder. */
  readonly run: string;
  readonly before: Score;
  readonly after: Score;
  readonly examples: readonly { readonly prompt: string; readonly expected: string; readonly text: string }[];
  readonly seconds: number;
}

const percent = (share: number | null): string => (share === null ? "-" : `${(100 * share).toFixed(1)} %`);

const scoreRow = (name: string, score: Score): string =>
  `| ${name} | ${percent(score.accuracy)} | ${score.interval.map(percent).join(" to ")} | ${score.correct} of ${score.total} | ${score.unparsed} |`;

/** Event lines of this package's own record; a line cut short by a crash is left out. */
const readEvents = async (file: string): Promise<readonly TrainEvent[]> => {
  const text = await readFile(file, "utf8");
  return text.split("\n").flatMap((line): readonly TrainEvent[] => {
    try {
      return line === "" ? [] : [JSON.parse(line)];
    } catch {
      return [];
    }
  });
};

const evaluationLines = (events: readonly TrainEvent[]): readonly string[] => {
  const evaluations = events.flatMap((event) => (event.type === "evaluation" ? [event] : []));
  const shares = evaluations.at(-1)?.argmaxShare ?? null;
  const routing =
    shares === null
      ? []
      : [
          "",
          "Share of each expert as the most probable one, over layers and dev prompts:",
          "",
          `| ${Object.keys(shares).join(" | ")} |`,
          `|${Object.keys(shares)
            .map(() => " ---: |")
            .join("")}`,
          `| ${Object.values(shares).map(percent).join(" | ")} |`,
        ];
  return [
    "| step | dev perplexity | balance loss |",
    "| ---: | ---: | ---: |",
    ...evaluations.map(
      ({ step, perplexity, balance, best }) =>
        `| ${step} | ${perplexity.toFixed(4)}${best ? " *" : ""} | ${balance === null ? "-" : balance.toFixed(3)} |`,
    ),
    "",
    "\\* the best so far",
    ...routing,
  ];
};

/** Writes the quickstart's report from its run folder; returns the file, `report/report.md`. */
export const writeQuickstartReport = async (report: QuickstartReport): Promise<string> => {
  const { run, before, after, examples, seconds } = report;
  const file = join(run, "report", "report.md");
  const events = await readEvents(join(run, "events.jsonl"));
  const lines = [
    "# Quickstart",
    "",
    "| | exact match | 95 % | correct | unparsed |",
    "| --- | ---: | --- | ---: | ---: |",
    scoreRow("before", before),
    scoreRow("after", after),
    "",
    after.protocol,
    "",
    "## Training",
    "",
    ...evaluationLines(events),
    "",
    "## Examples",
    "",
    ...examples.flatMap(({ prompt, expected, text }) => [
      "```",
      prompt,
      text,
      "```",
      "",
      `expected: \`${expected}\``,
      "",
    ]),
    `Took ${seconds.toFixed(0)} s.`,
    "",
  ];
  await writeFileAtomic(file, lines.join("\n"));
  return file;
};
