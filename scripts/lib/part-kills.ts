import { readFileSync, readdirSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";

interface RunningProcess {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** All processes of this machine, by Linux's /proc; one that ends meanwhile is left out. */
const running = (): readonly RunningProcess[] =>
  readdirSync("/proc").flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      // The name in brackets may hold anything; the state and the parent's id follow it.
      const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ");
      return state === "Z" ? [] : [{ pid, parent: Number(parent), command }];
    } catch {
      return [];
    }
  });

/** What a process has started, and what these have. */
const descendantsOf = (root: number): readonly RunningProcess[] => {
  const all = running();
  const found: RunningProcess[] = [];
  let parents: readonly number[] = [root];
  while (parents.length > 0) {
    const children = all.filter(({ parent }) => parents.includes(parent));
    found.push(...children);
    parents = children.map(({ pid }) => pid);
  }
  return found;
};

/** Parts of a training on ranks, by their command lines. */
export const parts = {
  rank: /^ray::Rank/u,
  driver: /pythonia.*interface/u,
  head: /gcs_server /u,
} as const;

/** A name of {@link parts}. */
export type Part = keyof typeof parts;

/** Kills one of the processes that are a part of a program with signal 9; gives all that the program had started. */
export const killPart = (program: number, part: Part, random: () => number): readonly number[] | undefined => {
  const all = descendantsOf(program);
  const victims = all.filter(({ command }) => parts[part].test(command));
  const victim = victims[Math.floor(random() * victims.length)];
  if (victim === undefined) return undefined;
  process.kill(victim.pid, "SIGKILL");
  return all.map(({ pid }) => pid);
};

/** Waits until processes have ended, at most so many seconds; the commands of those that still live, usually none. */
export const leftAfter = async (processes: readonly number[], seconds: number): Promise<readonly string[]> => {
  const end = performance.now() + 1000 * seconds;
  const left = () => running().filter(({ pid }) => processes.includes(pid));
  while (left().length > 0 && performance.now() < end) await wait(50);
  return left().map(({ pid, command }) => `${pid} ${command.trim()}`);
};
