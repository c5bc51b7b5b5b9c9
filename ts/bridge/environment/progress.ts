import type { StageName } from "./state.js";

/** What the making of an environment is doing. */
export interface EnvironmentProgress {
  readonly stage: StageName | "wait" | "verify";
  /** One sentence without a final stop, for people. */
  readonly message: string;
  /** Seconds since the stage began. */
  readonly elapsedSeconds: number;
}

export type OnProgress = (progress: EnvironmentProgress) => void;

/** What a line of pip's output says, for people; undefined for a line not worth one. */
export const describePipLine = (line: string): string | undefined => {
  const [, name, size] = /^\s*Downloading (?:\S*\/)?(\S+) \(([\d.]+ [MG]B)\)/u.exec(line) ?? [];
  if (name !== undefined && size !== undefined) return `downloading ${name.replace(/-py\d.*|-cp\d.*/u, "")}, ${size}`;
  const built = /^\s*Building wheel for (\S+)/u.exec(line)?.[1];
  if (built !== undefined) return `building ${built}`;
  const packages = /^Installing collected packages: (.+)$/u.exec(line)?.[1]?.split(",").length;
  if (packages === undefined) return undefined;
  return `unpacking ${packages === 1 ? "1 package" : `${packages} packages`}`;
};

const [firstWaitMs, longestWaitMs] = [5_000, 60_000];

/**
 * Reports messages with the time since it was made, and the last message again while nothing new comes: after 5 s,
 * then after twice as long each time, so that a log stays short.
 */
export const startReporter = (stage: EnvironmentProgress["stage"], onProgress: OnProgress | undefined) => {
  const started = performance.now();
  let last = "";
  let again: NodeJS.Timeout | undefined;
  const emit = (waitMs: number): void => {
    onProgress?.({ stage, message: last, elapsedSeconds: (performance.now() - started) / 1000 });
    again = setTimeout(() => emit(Math.min(2 * waitMs, longestWaitMs)), waitMs).unref();
  };
  return {
    report: (message: string): void => {
      if (message === last) return;
      last = message;
      clearTimeout(again);
      emit(firstWaitMs);
    },
    stop: (): void => clearTimeout(again),
  };
};
