import { spawn } from "node:child_process";
import { root, progress } from "./paths.mjs";

const heartbeatMs = 5_000;

/** Ctrl-C reaches a child by itself; this process stays to report how the child ended. */
const stay = () => {};

/**
 * Runs a program and resolves to its exit code (128 + signal where a signal ended it, 124 after `timeoutMs`).
 * `quiet`: its output goes to stderr, since stdout belongs to the program that the user asked for. `output`: an open
 * file that takes all of it.
 */
export const run = (
  command,
  args,
  { quiet = false, env = {}, timeoutMs = 3_600_000, label, onStart, cwd = root, output } = {},
) =>
  new Promise((resolve, reject) => {
    const started = Date.now();
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", output ?? (quiet ? 2 : "inherit"), output ?? "inherit"],
    });
    process.on("SIGINT", stay);
    let timedOut = false;
    const limit = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    const heartbeat = setInterval(() => {
      if (label !== undefined) progress(`milora: ${label} … ${Math.round((Date.now() - started) / 1000)} s`);
    }, heartbeatMs);
    const finish = () => {
      clearTimeout(limit);
      clearInterval(heartbeat);
      process.off("SIGINT", stay);
    };
    child.once("spawn", () => onStart?.(child.pid));
    child.once("error", (error) => {
      finish();
      reject(error);
    });
    child.once("exit", (code, signal) => {
      finish();
      if (timedOut) progress(`milora: ${command} ${args[0] ?? ""} was ended after ${timeoutMs / 1000} s`);
      resolve(timedOut ? 124 : (code ?? 128 + (signalNumbers[signal] ?? 0)));
    });
  });

const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

/** Runs a JavaScript program of a package in node_modules. */
export const runTool = (path, args, options) =>
  run(process.execPath, [`${root}/node_modules/${path}`, ...args], options);
