import { counted } from "../util/text.js";
import { benchSection } from "./bench-section.js";
import { judgingSection } from "./judging-section.js";
import type { Report, ReportSection } from "./report-model.js";
import { routingSection } from "./routing-section.js";
import { resultSection, runSection } from "./run-sections.js";
import type { ReportInputs } from "./sources/inputs.js";
import { sweepSection } from "./sweep-section.js";

const hasContent = ({ tables, figures }: ReportSection): boolean => tables.length + figures.length > 0;

const contents = ({ sweeps, runs, results, benches, routing, judgings }: ReportInputs): string => {
  const known = sweeps.reduce((total, { record }) => total + record.plan.length, 0);
  const parts = [
    sweeps.length === 0 ? [] : [`${counted(sweeps.length, "sweep")} of ${counted(known, "job")}`],
    runs.length === 0 ? [] : [counted(runs.length, "run by itself", "runs by themselves")],
    results.length === 0 ? [] : [counted(results.length, "scored result")],
    judgings.length === 0 ? [] : [counted(judgings.length, "judging")],
    benches.length === 0 ? [] : [counted(benches.length, "bench", "benches")],
    routing.length === 0 ? [] : [counted(routing.length, "routing")],
  ].flat();
  return parts.length === 0 ? "Nothing could be read." : `Made of ${parts.join(", ")}.`;
};

/** The judged answers of runs, then those of files. */
const allJudgings = ({ sweeps, runs, judgings }: ReportInputs): ReportInputs["judgings"] => [
  ...[...sweeps.flatMap((sweep) => [...sweep.runs.values()]), ...runs].flatMap((run) => run.judgings),
  ...judgings,
];

/** The routing of runs, then that of files. */
const allRouting = ({ sweeps, runs, routing }: ReportInputs): ReportInputs["routing"] => [
  ...[...sweeps.flatMap((sweep) => [...sweep.runs.values()]), ...runs].flatMap((run) => run.routing),
  ...routing,
];

/** All tables and figures of what was read. */
export const buildReport = (inputs: ReportInputs, title = "Report"): Report => {
  const { sweeps, runs, benches, problems } = inputs;
  const sections = [
    ...sweeps.map(sweepSection),
    ...(runs.length === 0 ? [] : [runSection(runs)]),
    resultSection(inputs),
    judgingSection(allJudgings(inputs)),
    benchSection(benches),
    routingSection(allRouting(inputs)),
  ];
  const failed = problems.length === 0 ? [] : [`${counted(problems.length, "thing")} could not be read; see the end.`];
  return { title, text: [contents(inputs), ...failed], sections: sections.filter(hasContent), problems };
};
