import { chunks } from "../../../ts/util/text.js";
import { type AgreementCase, type AgreementRow, agreementRows } from "./cases.js";
import type { Harness, HarnessMetrics, HarnessRequest } from "./harness.js";
import type { Ours } from "./ours.js";
import { type AgreementRecord, recordFile } from "./records.js";

export interface AgreementOptions {
  readonly ours: Ours;
  readonly harness: Harness;
  /** Folder that holds one folder a task. */
  readonly dir: string;
  /** The first rows only. */
  readonly limit: number;
  /** The longest text that is generated, in tokens. */
  readonly maxNewTokens: number;
  /** Folder for what each row gave; what is there is not computed again. */
  readonly out: string;
  /** All else that decides the records: the model, the adapter. */
  readonly identity: object;
  readonly onProgress?: ((task: string, done: number, total: number) => void) | undefined;
}

/** How many rows the harness' own task asks in the same words. */
export interface Words {
  readonly rows: number;
  readonly same: number;
  /** The same without the changes of its YAML file. */
  readonly sameUnchanged: number;
  /** The first row that is asked otherwise. */
  readonly other?: { readonly ours: string; readonly harness: string } | undefined;
}

/** One case on both sides, row by row. */
export interface Agreement {
  readonly of: AgreementCase;
  readonly rows: readonly AgreementRow[];
  readonly records: readonly AgreementRecord[];
  readonly stops: readonly string[];
  /** Undefined where the harness has no such task. */
  readonly words?: Words | undefined;
  /** What the harness' own task makes of the harness' responses; only where it asks every row in the same words. */
  readonly metrics?: readonly HarnessMetrics[] | undefined;
}

const sorted = (texts: readonly string[] = []): string => JSON.stringify(texts.toSorted());

const isSameRequest = ({ rendered }: AgreementRow, request: HarnessRequest | undefined): boolean =>
  request !== undefined &&
  rendered.prompt === request.prompt &&
  (request.choices === undefined || sorted(rendered.choices) === sorted(request.choices));

const shown = ({ prompt, choices }: Pick<HarnessRequest, "prompt" | "choices">): string =>
  JSON.stringify({ prompt, choices });

const compareWords = (
  rows: readonly AgreementRow[],
  requests: readonly HarnessRequest[],
  unchanged: readonly HarnessRequest[],
): Words => {
  const count = (of: readonly HarnessRequest[]) => rows.filter((row, place) => isSameRequest(row, of[place])).length;
  const at = rows.findIndex((row, place) => !isSameRequest(row, requests[place]));
  const [row, request] = [rows[at], requests[at]];
  const other =
    row === undefined || request === undefined
      ? undefined
      : {
          ours: shown({ prompt: row.rendered.prompt, choices: [...(row.rendered.choices ?? [])] }),
          harness: shown(request),
        };
  return { rows: rows.length, same: count(requests), sameUnchanged: count(unchanged), other };
};

const compute = async (
  of: AgreementCase,
  rows: readonly AgreementRow[],
  { ours, harness, maxNewTokens }: AgreementOptions,
  settings: object,
): Promise<readonly AgreementRecord[]> => {
  const scored = await ours.evaluate(of, rows, maxNewTokens);
  const asked = rows.map(({ rendered: { prompt, choices = [] } }) => ({ prompt, choices }));
  if (of.scorer === "generate") {
    const prompts = asked.map(({ prompt }) => prompt);
    const texts = await harness.texts(prompts, { settings, batch: of.batch });
    return rows.map(({ index }, place) => ({
      kind: "texts",
      index,
      prompt: prompts[place] ?? "",
      ours: scored[place]?.output ?? "",
      harness: texts[place] ?? "",
    }));
  }
  const found = await harness.likelihoods(asked, of.batch);
  return rows.map(({ index, rendered: { prompt, choices = [] } }, place) => ({
    kind: "likelihoods",
    index,
    prompt,
    choices: [...choices],
    ours: (scored[place]?.scores ?? []).map(({ logLikelihood }) => logLikelihood),
    harness: found[place]?.values ?? [],
    greedy: found[place]?.greedy ?? [],
    sameTokens: found[place]?.sameTokens ?? [],
  }));
};

/** What the harness' model gave to the requests of its own task, in their order. */
const responsesOf = (record: AgreementRecord, request: HarnessRequest): readonly unknown[] =>
  record.kind === "texts"
    ? [record.harness]
    : (request.choices ?? []).map((choice) => {
        const place = record.choices.indexOf(choice);
        return [record.harness[place], record.greedy[place]];
      });

/** The harness' own task of a case, with what it asks row by row. */
const ownTask = async (of: AgreementCase, { harness, dir }: AgreementOptions, limit: number) => {
  if (of.harness === undefined) return undefined;
  const task = { task: of.harness.name, dir, limit, changes: of.harness.changes };
  return { task, requests: await harness.requests(task) };
};

/**
 * Scores the rows of a case on both sides; what was computed before is read.
 * Errors: those of the task's data, of the backend and of the harness.
 */
export const compareCase = async (of: AgreementCase, options: AgreementOptions): Promise<Agreement> => {
  const { harness, maxNewTokens, out, identity, onProgress } = options;
  const rows = await agreementRows(of, options);
  const own = await ownTask(of, options, rows.length);
  const settings = { ...own?.requests[0]?.settings, max_gen_toks: maxNewTokens };
  const file = recordFile(out, of.task.name, { ...identity, template: of.task.templateSource(of.template), settings });
  const before = await file.read();
  const missing = rows.filter(({ index, rendered }) => before.get(index)?.prompt !== rendered.prompt);
  for (const part of chunks(missing, of.chunk)) {
    onProgress?.(of.task.name, part[0]?.index ?? 0, rows.length);
    await file.append(await compute(of, part, options, settings));
  }
  const known = await file.read();
  const records = rows.flatMap(({ index }) => known.get(index) ?? []);
  const stops = own?.requests[0]?.settings?.until ?? [];
  if (own === undefined) return { of, rows, records, stops };
  const words = compareWords(rows, own.requests, await harness.requests({ ...own.task, changes: {} }));
  if (words.same < rows.length) return { of, rows, records, stops, words };
  const responses = own.requests.flatMap((request, place) =>
    records.slice(place, place + 1).map((record) => responsesOf(record, request)),
  );
  return { of, rows, records, stops, words, metrics: await harness.metrics(own.task, responses) };
};
