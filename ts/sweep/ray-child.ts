import { join } from "node:path";
import type { Backend } from "../backend/backend.js";
import type { RayTask, RayTaskEvent } from "../backend/ray-ops.js";
import { MiloraError } from "../errors.js";
import { machineSchema } from "../runs/sweep-record.js";
import { makeFolder, readJsonIfThere } from "../util/files.js";
import type { ChildWork, OwnProgram, StartChildren, WorkEnd } from "./child.js";
import { endWithParent } from "./end-with-parent.js";
import { machineFile } from "./machine.js";

/** How long one look at Ray may wait for news; what is asked meanwhile waits as long. */
const secondsOfTurn = 0.25;

export interface RayChildOptions {
  readonly program: OwnProgram;
  /** One that has joined Ray (`rayTasksOpen`). */
  readonly backend: Pick<Backend, "call">;
  readonly signal: AbortSignal;
  /** Ray is lost: nothing can be started any more. */
  readonly onLost: (error: Error) => void;
}

interface OpenWork {
  readonly work: ChildWork;
  readonly resolve: (end: WorkEnd) => void;
  readonly reject: (error: unknown) => void;
}

const machinePlace = (folder: string): string => join(folder, "machine.json");

const endOf = ({ folder }: ChildWork, event: Exclude<RayTaskEvent, { type: "started" }>): WorkEnd => {
  const machine = machineSchema.safeParse(readJsonIfThere(machinePlace(folder))).data;
  return event.type === "lost" ? { ends: [], lost: event.reason, machine } : { ends: event.ends, machine };
};

const taskOf = (id: string, { calls, folder }: ChildWork, program: OwnProgram): RayTask => ({
  id,
  programs: calls.map(({ args, log }) => ({ command: [...program, ...args], log })),
  directory: process.cwd(),
  folder,
  environment: { [endWithParent]: "1", [machineFile]: machinePlace(folder) },
});

/**
 * Starts our own program as a task of Ray, one for all calls of a job, wherever Ray has room. An abort of `signal` ends
 * what waits, and sends what runs one SIGINT. What a task runs ends with it, and a task with this process.
 */
export const rayChildStarter = ({ program, backend, signal, onLost }: RayChildOptions): StartChildren => {
  const open = new Map<string, OpenWork>();
  let [starting, stopping]: [RayTask[], string[]] = [[], []];
  let made = 0;
  let turning = false;

  const deliver = (event: RayTaskEvent): void => {
    const each = open.get(event.id);
    if (each === undefined) return;
    if (event.type === "started") {
      each.work.onStart?.();
      return;
    }
    open.delete(event.id);
    each.resolve(endOf(each.work, event));
  };
  const turnOnce = async (): Promise<void> => {
    const asked = { start: starting, stop: stopping, seconds: secondsOfTurn };
    [starting, stopping] = [[], []];
    const { events } = await backend.call("rayTasksTurn", asked);
    events.forEach(deliver);
  };
  const turn = async (): Promise<void> => {
    if (turning) return;
    turning = true;
    try {
      while (open.size > 0) await turnOnce();
    } catch (error) {
      onLost(error instanceof Error ? error : new MiloraError("internal", String(error)));
      for (const { reject } of open.values()) reject(error);
      open.clear();
    } finally {
      turning = false;
    }
  };
  signal.addEventListener("abort", () => stopping.push(...open.keys()), { once: true });

  return (work) =>
    new Promise((resolve, reject) => {
      made += 1;
      const id = String(made);
      makeFolder(work.folder);
      open.set(id, { work, resolve, reject });
      starting.push(taskOf(id, work, program));
      if (signal.aborted) stopping.push(id);
      void turn();
    });
};
