import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { z } from "zod";
import { MiloraError } from "../../errors.js";
import { makeFolder, systemErrorCode } from "../../util/files.js";
import { tryLock } from "../../util/lock-file.js";
import { canonicalJson } from "../../util/records.js";
import type { Failure } from "./chat-answer.js";
import { type JudgementPlace, placeKey } from "./plan.js";

/** What decides a file's reviews; a file of others is not gone on with. */
export interface ReviewHeader {
  readonly format: 1;
  readonly task: string;
  readonly mode: string;
  readonly judgeModel: string;
  /** Fields of each request beside its messages. */
  readonly request: Readonly<Record<string, unknown>>;
  readonly templateHash: string;
  /** The methods that were judged, with the checksums of their answers. */
  readonly results: readonly { readonly label: string; readonly hash: string }[];
}

const placeFields = {
  shown: z.array(z.string()).readonly(),
  question: z.int(),
  category: z.string(),
  turn: z.int(),
  round: z.int(),
};

const reviewSchema = z.object({
  type: z.literal("review"),
  ...placeFields,
  referenced: z.boolean(),
  /** What the judge wrote, as it is. */
  reply: z.string(),
  finish: z.string().nullable(),
  /** The model that answered, as the endpoint names it. */
  model: z.string().nullable(),
  usage: z.object({ input: z.number(), output: z.number() }).nullable(),
  attempts: z.int(),
  seconds: z.number(),
});

/** A judgement that was made: what the judge wrote, raw. */
export type Review = Omit<z.output<typeof reviewSchema>, "type">;

/** A judgement that could not be made; the next run asks again. */
export interface FailedJudgement extends JudgementPlace {
  readonly failure: Failure;
}

/** What a file of reviews holds already. */
export interface PresentReviews {
  /** By their place. */
  readonly reviews: ReadonlyMap<string, Review>;
  /** Bytes of whole lines; 0 where the file has yet to begin. */
  readonly keepBytes: number;
}

/** A file of reviews, open for more. */
export interface ReviewFile {
  readonly review: (review: Review) => void;
  readonly failed: (failed: FailedJudgement) => void;
  readonly close: () => void;
}

const notResumable = (file: string, message: string, found?: string): MiloraError =>
  new MiloraError("run/not-resumable", `${file} ${message}`, {
    file,
    found,
    hint: "Name another file with --out; this one is untouched.",
  });

const readLines = (file: string): { readonly lines: readonly string[]; readonly keepBytes: number } => {
  try {
    const text = readFileSync(file, "utf8");
    // A killed run may have left half a line.
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    if (whole === "" && !'{"time":'.startsWith(text.slice(0, 8))) throw notResumable(file, "is no file of reviews.");
    return { lines: whole.split("\n").slice(0, -1), keepBytes: Buffer.byteLength(whole) };
  } catch (error) {
    if (MiloraError.isInstance(error)) throw error;
    if (systemErrorCode(error) === "ENOENT") return { lines: [], keepBytes: 0 };
    throw notResumable(file, `can't be read as a file of reviews: ${systemErrorCode(error) ?? String(error)}.`);
  }
};

const parseLine = (file: string, text: string, line: number): unknown => {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch (cause) {
    throw new MiloraError("data/bad-row", `${file}, line ${line} is not JSON; it was changed by another hand.`, {
      file,
      line,
      cause,
    });
  }
};

const headerFields = ["format", "task", "mode", "judgeModel", "request", "templateHash", "results"] as const;

const checkHeader = (file: string, found: unknown, wanted: ReviewHeader): void => {
  const parsed = z.looseObject({ type: z.literal("judging") }).safeParse(found);
  if (!parsed.success) throw notResumable(file, "is no file of reviews.");
  const differing = headerFields.filter((field) => canonicalJson(parsed.data[field]) !== canonicalJson(wanted[field]));
  if (differing.length === 0) return;
  const told = differing.map((field) => `${field} ${JSON.stringify(parsed.data[field]) ?? "nothing"}`).join("; ");
  throw notResumable(file, `holds reviews of another judging: it has ${told}.`, told);
};

/**
 * What a file of reviews holds already; nothing where there is no file.
 * Errors: `run/not-resumable` for another judging's file; `data/bad-row`.
 */
export const readReviews = (file: string, header: ReviewHeader): PresentReviews => {
  const { lines: all, keepBytes } = readLines(file);
  const [first, ...lines] = all;
  if (first === undefined) return { reviews: new Map(), keepBytes };
  checkHeader(file, parseLine(file, first, 1), header);
  const reviews = lines.flatMap((text, index): readonly Review[] => {
    const parsed = reviewSchema.safeParse(parseLine(file, text, index + 2));
    if (!parsed.success) return [];
    const { type: _type, ...review } = parsed.data;
    return [review];
  });
  return { reviews: new Map(reviews.map((review) => [placeKey(review), review])), keepBytes };
};

const onDisk = <Value>(file: string, work: () => Value): Value => {
  try {
    return work();
  } catch (cause) {
    const found = systemErrorCode(cause) ?? String(cause);
    throw new MiloraError("run/disk", `Could not write ${file} (${found}); what stands there is whole.`, {
      file,
      found,
      hint: "Free some space or choose another file with --out.",
      cause,
    });
  }
};

/**
 * Holds a file of reviews for this process until the function that it returns is called: of two that write to it, each
 * would cut off what the other bought. Its folder is made. Errors: `run/exists` where it is held; `run/disk`.
 */
export const holdReviewFile = (file: string): (() => void) => {
  const lock = `${file}.lock`;
  const attempt = onDisk(file, () => {
    makeFolder(dirname(file));
    return tryLock(lock);
  });
  if (attempt.release !== undefined) return attempt.release;
  const { holder } = attempt;
  const who = holder === undefined ? "another process" : `process ${holder.pid} on ${holder.host}`;
  throw new MiloraError("run/exists", `The judging in ${file} is in progress: ${who} holds it.`, {
    file: lock,
    found: who,
    hint:
      holder === undefined || holder.host === hostname()
        ? "Wait for it, stop it, or name another file with --out."
        : "Where that machine is gone, try again in a minute.",
  });
};

/** Opens a file of reviews that is held, for more than `readReviews` found; a review is on disk when its call returns. */
export const openReviewFile = (file: string, header: ReviewHeader, { keepBytes }: PresentReviews): ReviewFile => {
  const handle = onDisk(file, () => openSync(file, "a"));
  let wholeBytes = keepBytes;
  const write = (value: object): void =>
    onDisk(file, () => {
      const line = `${JSON.stringify({ time: new Date().toISOString(), ...value })}\n`;
      // What a killed run, or a write that failed, left of a line would spoil this one.
      ftruncateSync(handle, wholeBytes);
      // Unlike writeSync it goes on where the system took a part of the line only.
      writeFileSync(handle, line);
      fsyncSync(handle);
      wholeBytes += Buffer.byteLength(line);
    });
  if (keepBytes === 0) write({ type: "judging", ...header });
  return {
    review: (review) => write({ type: "review", ...review }),
    failed: (failed) => write({ type: "failure", ...failed }),
    close: () => closeSync(handle),
  };
};
