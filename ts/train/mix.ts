import type { Row } from "../data/row.js";
import type { FileData, HubData, MixData, MixSource, TaskData } from "../spec/data.js";
import { taskByName } from "../tasks/registry.js";
import { mixSeed, shuffled } from "../util/random.js";
import { defaultDevShare, loadSource, sourceLabel, type LoadingOptions, type TrainingData } from "./row-source.js";

/** A source of a mix with its own rows. */
interface LoadedSource extends TrainingData {
  readonly label: string;
}

type Dev = MixData["dev"];

/** A source with the dev set that the mix chooses for it where it chooses none itself. */
const withDev = (entry: MixSource, dev: Dev): TaskData | FileData | HubData => {
  const share = dev ?? { split: defaultDevShare };
  if ("train" in entry) return { ...entry, dev: entry.dev ?? share };
  if (!("task" in entry)) return { ...entry, dev: entry.dev ?? share };
  const hasOwn = taskByName(entry.task).splits.includes("dev");
  return { ...entry, dev: entry.dev ?? (hasOwn ? undefined : dev) };
};

/** The sources' names, with a number where one occurs again. */
const labelsOf = (entries: readonly MixSource[]): readonly string[] => {
  const names = entries.map((entry) => sourceLabel(entry));
  return names.map((name, index) => {
    const before = names.slice(0, index).filter((other) => other === name).length;
    return before === 0 ? name : `${name} (${before + 1})`;
  });
};

const loadSources = async (data: MixData, options: LoadingOptions): Promise<readonly LoadedSource[]> => {
  const labels = labelsOf(data.mix);
  const sources: LoadedSource[] = [];
  for (const [index, entry] of data.mix.entries()) {
    const loaded = await loadSource(withDev(entry, data.dev), options);
    sources.push({ ...loaded, label: labels[index] ?? "" });
  }
  return sources;
};

/** `total` cut into whole parts in proportion to the weights: rounded down, what is left to the largest remainders. */
export const apportion = (total: number, weights: readonly number[]): readonly number[] => {
  const sum = weights.reduce((all, weight) => all + weight, 0);
  const parts = weights.map((weight, index) => {
    const exact = (weight / sum) * total;
    return { index, whole: Math.floor(exact), remainder: exact - Math.floor(exact) };
  });
  const left = total - parts.reduce((all, { whole }) => all + whole, 0);
  const byRemainder = parts.toSorted((one, other) => other.remainder - one.remainder || one.index - other.index);
  const raised = new Set(byRemainder.slice(0, left).map(({ index }) => index));
  return parts.map(({ index, whole }) => whole + (raised.has(index) ? 1 : 0));
};

/** How many rows each source gives. */
const sharesOf = (data: MixData, sizes: readonly number[]): readonly number[] => {
  const available = sizes.reduce((all, size) => all + size, 0);
  if (data.by === "temperature") {
    const weights = sizes.map((size) => size ** (1 / data.temperature));
    return apportion(data.rows ?? available, weights);
  }
  return data.rows === undefined || data.rows >= available ? sizes : apportion(data.rows, sizes);
};

/** So many rows by seed; a source with fewer gives all of them, again and again, each time in another order. */
const draw = (rows: readonly Row[], count: number, seed: number): readonly Row[] => {
  const passes = Math.ceil(count / Math.max(1, rows.length));
  return Array.from({ length: passes }, (_, pass) => shuffled(rows, mixSeed(seed, "pass", pass)))
    .flat()
    .slice(0, count);
};

/** A row of a source whose prompts go into the chat template, as a row that always does. */
const asChat = (row: Row): Row =>
  "messages" in row
    ? row
    : {
        messages: [
          { role: "user", content: row.prompt },
          { role: "assistant", content: row.answer },
        ],
      };

const sourced = (rows: readonly Row[], { label, format }: LoadedSource, isMixed: boolean): readonly Row[] =>
  rows.map((row) => ({ ...(isMixed && format === "chat" ? asChat(row) : row), source: label }));

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

const shareText = (count: number, { label, train }: LoadedSource, total: number): string => {
  const passes = count > train.length ? `, each ${Number((count / train.length).toFixed(2))} times` : "";
  return `${label} ${count} rows (${percent(count / total)}) of its ${train.length}${passes}`;
};

const mixText = (data: MixData, total: number, shares: readonly string[]): string => {
  const rule = data.by === "temperature" ? `temperature ${data.temperature}` : "rows";
  return `A mix by ${rule} of ${total} training rows: ${shares.join("; ")}.`;
};

/**
 * The rows of several sources in one order by the seed; the dev sets are the sources' own, joined.
 * Each row keeps its source's name.
 */
export const mixRows = async (data: MixData, options: LoadingOptions): Promise<TrainingData> => {
  const sources = await loadSources(data, options);
  const counts = sharesOf(
    data,
    sources.map(({ train }) => train.length),
  );
  const total = counts.reduce((all, count) => all + count, 0);
  const [format = "plain", ...others] = new Set(sources.map((source) => source.format));
  const isMixed = others.length > 0;
  const drawn = sources.flatMap((source, index) => {
    const rows = draw(source.train, counts[index] ?? 0, mixSeed(options.seed, "mix", index));
    return sourced(rows, source, isMixed);
  });
  const shares = sources.map((source, index) => shareText(counts[index] ?? 0, source, total));
  return {
    train: shuffled(drawn, mixSeed(options.seed, "mix")),
    dev: sources.flatMap((source) => sourced(source.dev, source, isMixed)),
    devSource: sources.map(({ label, devSource }) => `${label}: ${devSource}`).join("; "),
    format: isMixed ? "plain" : format,
    warnings: [
      mixText(data, total, shares),
      ...sources.flatMap(({ label, warnings }) => warnings.map((text) => `${label}: ${text}`)),
    ],
  };
};
