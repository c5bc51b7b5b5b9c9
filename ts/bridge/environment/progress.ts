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

const heartbeatMs = 5_000;

/** Reports messages with the time since it was made, and the last message again every few seconds. */
export const startReporter = (stage: EnvironmentProgress["stage"], onProgress: OnProgress | undefined) => {
  const started = performance.now();
  let last = "";
  const emit = () => onProgress?.({ stage, message: last, elapsedSeconds: (performance.now() - started) / 1000 });
  const heartbeat = setInterval(() => last !== "" && emit(), heartbeatMs);
  heartbeat.unref();
  return {
    report: (message: string): void => {
      if (message === last) return;
      last = message;
      emit();
    },
    stop: (): void => clearInterval(heartbeat),
  };
};
