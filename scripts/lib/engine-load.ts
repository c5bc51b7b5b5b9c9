import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { StreamedText, TextEngine } from "../../ts/generate/text-engine.js";
import { randomInteger, randomItem, seededRandom } from "../../ts/util/random.js";

/** A request and the second in which it arrives. */
interface Arrival {
  readonly tenant: string;
  readonly prompt: string;
  readonly maxNewTokens: number;
  readonly at: number;
}

/** What one way of asking took; `firstPiece`: seconds until a reader had something to read. */
export interface Written {
  readonly way: string;
  readonly texts: readonly StreamedText[];
  readonly firstPiece: readonly number[];
  readonly seconds: number;
  readonly processorSeconds: number | undefined;
}

interface Load {
  readonly engine: TextEngine;
  /** Of the process that computes. */
  readonly pid: number;
  readonly requests: readonly Arrival[];
}

const words = "the of a to in river stone market window letter garden often before under light seven".split(" ");
const promptWords = { least: 5, more: 60 };
const ticksPerSecond = 100;

/** Requests with prompts of 5 to 64 words, at random moments of the window; always the same ones. */
export const madeUpRequests = (options: {
  readonly count: number;
  readonly tenants: readonly string[];
  readonly maxNewTokens: number;
  /** Seconds. */
  readonly window: number;
}): readonly Arrival[] => {
  const random = seededRandom(8);
  return Array.from({ length: options.count }, () => {
    const length = promptWords.least + randomInteger(random, promptWords.more);
    const prompt = Array.from({ length }, () => randomItem(random, words)).join(" ");
    const tenant = randomItem(random, options.tenants);
    return { tenant, prompt, maxNewTokens: options.maxNewTokens, at: random() * options.window };
  });
};

/** Seconds that all threads of a process have computed; only Linux tells. */
const processorSeconds = (pid: number): number | undefined => {
  try {
    // Behind the name, which may hold spaces: user and system time are fields 14 and 15 of the line.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  } catch {
    return undefined;
  }
};

const write = async (
  engine: TextEngine,
  { tenant, prompt, maxNewTokens }: Arrival,
): Promise<{ readonly text: StreamedText; readonly firstPiece: number }> => {
  const started = performance.now();
  const stream = engine.stream({ tenant, prompt, maxNewTokens });
  let firstPiece = Number.NaN;
  for await (const piece of stream)
    if (Number.isNaN(firstPiece) && piece !== "") firstPiece = (performance.now() - started) / 1000;
  return { text: await stream.result, firstPiece };
};

const timed = async (
  way: string,
  pid: number,
  ask: () => Promise<readonly Awaited<ReturnType<typeof write>>[]>,
): Promise<Written> => {
  const [started, before] = [performance.now(), processorSeconds(pid)];
  const written = await ask();
  const after = processorSeconds(pid);
  return {
    way,
    texts: written.map(({ text }) => text),
    firstPiece: written.map(({ firstPiece }) => firstPiece).filter((seconds) => !Number.isNaN(seconds)),
    seconds: (performance.now() - started) / 1000,
    processorSeconds: before === undefined || after === undefined ? undefined : after - before,
  };
};

/** Each request as it arrives, whatever else runs. */
export const sharedBatch = async ({ engine, pid, requests }: Load): Promise<Written> =>
  timed("as they arrive", pid, async () =>
    Promise.all(
      requests.map(async (request) => {
        await sleep(request.at * 1000);
        return write(engine, request);
      }),
    ),
  );

/** Each request once the one before it has ended, with no waiting between them. */
export const oneByOne = async ({ engine, pid, requests }: Load): Promise<Written> =>
  timed("one by one", pid, async () => {
    const written = [];
    for (const request of requests) written.push(await write(engine, request));
    return written;
  });

/** The value that a share of the values does not exceed. */
const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((left, right) => left - right).at(Math.ceil(share * values.length) - 1) ?? Number.NaN;

const tokensOf = ({ texts }: Written): number => texts.reduce((sum, { newTokens }) => sum + newTokens, 0);

/** The figures of one way, line by line. */
export const describeRun = (written: Written): readonly string[] => {
  const { way, texts, seconds, firstPiece, processorSeconds: computed } = written;
  const spread = (values: readonly number[]): string =>
    `${percentile(values, 0.5).toFixed(3)} / ${percentile(values, 0.95).toFixed(3)} s`;
  const processor = computed === undefined ? "" : `, ${computed.toFixed(1)} s of the processor`;
  const rate = (tokensOf(written) / seconds).toFixed(1);
  const inEngine = (key: keyof StreamedText["seconds"]): string => spread(texts.map((text) => text.seconds[key]));
  return [
    `${way}: ${tokensOf(written)} tokens in ${seconds.toFixed(1)} s${processor}: ${rate} tokens/s`,
    `  p50 / p95: queued ${inEngine("queued")}, prefill ${inEngine("prefill")}, first token ${inEngine("firstToken")}, ` +
      `first piece read ${spread(firstPiece)}`,
  ];
};

/** How much faster the shared batch was, and whether both have written the same. */
export const tellRatio = (shared: Written, single: Written): string => {
  const same = shared.texts.filter(({ text }, index) => text === single.texts[index]?.text).length;
  const ratio = (single.seconds / shared.seconds).toFixed(2);
  const [ours, theirs] = [shared.processorSeconds, single.processorSeconds];
  const processor =
    ours === undefined || theirs === undefined ? "" : `, ${(theirs / ours).toFixed(2)} by the processor's time`;
  return `ratio ${ratio}${processor}; ${same} of ${shared.texts.length} texts are the same`;
};
