import { spawnSync } from "node:child_process";
import { linkSync, mkdirSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { progress, readText, writeAtomically } from "./paths.mjs";

const waitLimitMs = 20 * 60_000;

/** A pid alone may be another process's by now; with its start it names one process. */
const startOf = (pid) => {
  const stat = readText(`/proc/${pid}/stat`);
  if (stat !== undefined) return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  return spawnSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).stdout?.trim() || undefined;
};

const identityOf = (pid) => ({ pid, start: startOf(pid) });

const lives = (identity) =>
  identity !== undefined && identity.start !== undefined && startOf(identity.pid) === identity.start;

const parse = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
};

/** Creates the lock with its content in one step; false where it exists. */
const create = (file, content) => {
  const beside = `${file}.new-${process.pid}`;
  writeFileSync(beside, content);
  try {
    linkSync(beside, file);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  } finally {
    unlinkSync(beside);
  }
};

/** Moves a dead process's lock away. Another process may have been quicker: then its lock is put back. */
const removeStale = (file, seen) => {
  const aside = `${file}.stale-${process.pid}`;
  try {
    renameSync(file, aside);
    if (readText(aside) !== seen) linkSync(aside, file);
    unlinkSync(aside);
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "EEXIST") throw error;
  }
};

const acquire = async (file) => {
  mkdirSync(dirname(file), { recursive: true });
  const content = JSON.stringify({ holder: identityOf(process.pid) });
  const deadline = Date.now() + waitLimitMs;
  let told = false;
  while (!create(file, content)) {
    const seen = readText(file);
    if (seen === undefined) continue;
    const { holder, child } = parse(seen);
    if (!lives(holder) && !lives(child)) {
      removeStale(file, seen);
      continue;
    }
    if (Date.now() > deadline) throw new Error(`${file} is held by process ${holder?.pid} for over 20 minutes`);
    if (!told) progress(`milora: waiting for the set-up that process ${holder?.pid} is doing`);
    told = true;
    await sleep(200);
  }
};

/**
 * Runs `work` while no other process holds the lock `file`. `work` gets a function that names a child process: as
 * long as that child lives, the lock holds, even when this process was killed.
 */
export const withLock = async (file, work) => {
  await acquire(file);
  const holder = identityOf(process.pid);
  try {
    return await work((pid) => writeAtomically(file, JSON.stringify({ holder, child: identityOf(pid) })));
  } finally {
    unlinkSync(file);
  }
};
