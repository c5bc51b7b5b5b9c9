import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import { MiloraError } from "../../errors.js";
import { buildReport } from "../../report/build-report.js";
import { reportFiles, reportExtensions, reportFormats } from "../../report/render.js";
import { readReportInputs } from "../../report/sources/read-inputs.js";
import { parseWith } from "../../spec/parse.js";
import { writeFileAtomic } from "../../util/files.js";
import { counted } from "../../util/text.js";
import { printResult, tell, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  format: z.enum(reportFormats).default("html"),
  out: z.string().optional(),
  title: z.string().optional(),
});

/** Problems that are told at once; the report has all. */
const toldProblems = 5;

/** `milora report`: tables and figures of runs, sweeps, results, benches and routing, in one file. */
export const reportCommand = async (
  context: CommandContext,
  raw: object,
  first: string,
  others: readonly string[],
): Promise<number> => {
  const { format, out, title } = parseWith(optionsSchema, raw, { what: "The command" });
  const paths = [first, ...others];
  const file = resolve(out ?? join(".", `report.${reportExtensions[format]}`));
  if (paths.some((path) => resolve(path) === file))
    throw new MiloraError("input/invalid-spec", `--out names ${file}, which is to be read.`, {
      file,
      hint: "Choose another file with --out.",
    });
  const report = buildReport(await readReportInputs(paths), title ?? paths.map((path) => basename(resolve(path))).join(", ")); // prettier-ignore
  const files = await reportFiles(report, format, basename(file));
  for (const { name, text } of files) await writeFileAtomic(join(dirname(file), name), text);
  const { problems, sections } = report;
  for (const { place, problem } of problems.slice(0, toldProblems)) tell(`not read: ${place}: ${problem}`);
  if (problems.length > toldProblems)
    tell(`and ${counted(problems.length - toldProblems, "more one", "more")}, all in the report`);
  const figures = files.slice(1).map(({ name }) => join(dirname(file), name));
  printResult(context, { file, format, figures, sections: sections.map((section) => section.title), problems }, () => [
    file,
  ]);
  return sections.length === 0 ? 1 : 0;
};
