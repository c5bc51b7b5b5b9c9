import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MiloraError } from "../../errors.js";
import { makeFolder } from "../../util/files.js";
import { tryLock } from "../../util/lock-file.js";

const pollMs = 200;
const waitLimitMs = 2 * 3_600_000;

interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once where another process holds the lock. */
  readonly onWait?: ((pid: number) => void) | undefined;
}

const acquire = async (file: string, { signal, onWait }: LockOptions): Promise<() => void> => {
  makeFolder(dirname(file));
  const deadline = performance.now() + waitLimitMs;
  let told = false;
  for (;;) {
    const attempt = tryLock(file);
    if (attempt.release !== undefined) return attempt.release;
    if (signal?.aborted === true) throw new MiloraError("cancelled", "cancelled while waiting for another set-up");
    const { holder } = attempt;
    if (holder !== undefined) {
      if (performance.now() > deadline) {
        throw new MiloraError("environment/install-failed", `process ${holder.pid} has held ${file} for two hours`, {
          hint: `end process ${holder.pid}, then try again`,
        });
      }
      if (!told) onWait?.(holder.pid);
      told = true;
    }
    await sleep(pollMs);
  }
};

/** Runs `work` while no other process holds the lock. The lock of a process that is gone is taken over. */
export const withLock = async <Result>(
  file: string,
  work: () => Promise<Result>,
  options: LockOptions = {},
): Promise<Result> => {
  const release = await acquire(file, options);
  try {
    return await work();
  } finally {
    release();
  }
};
