/** The faults of pythonia as it comes that the bridge cures; each has its cure tested beside this file. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../../ts/bridge/index.js";
import {
  endsWithin,
  openHazards,
  type Script,
  type ScriptResult,
  startScript,
} from "../../fixtures/bridge/support.js";

const fault = (name: string, options: Parameters<typeof startScript>[1] = {}): Promise<ScriptResult> =>
  startScript("stock-faults.ts", { boundMs: 6000, ...options, args: [name, ...(options.args ?? [])] }).result;

/** Longer than the 100 s after which pythonia gives a call up. */
const longCallSeconds = 105;

describe("a call of 105 s", () => {
  let session: Session;
  let ours: Promise<unknown>;
  let stock: Script;

  // Started before the other tests and awaited after them.
  beforeAll(async () => {
    session = await openHazards();
    ours = session.call("sleep", { seconds: longCallSeconds });
    // Awaited by the last test; where that is not chosen, closing the session rejects it.
    ours.catch(() => {});
    stock = startScript("stock-faults.ts", {
      args: ["gives up after 100 s", String(longCallSeconds)],
      boundMs: (longCallSeconds + 15) * 1000,
    });
  });
  afterAll(async () => {
    stock.child.kill("SIGKILL");
    await session.close();
  });

  test("Python's death leaves a call waiting for ever", async () => {
    // The interval of pythonia keeps Node alive: it is the bound that ends it.
    expect(await fault("death hangs")).toMatchObject({ hung: true });
  });

  test("sys.exit ends Python, and the call waits for ever", async () => {
    expect(await fault("system exit kills")).toMatchObject({ hung: true, stdout: "python ended\n" });
  });

  test("SIGINT ends Python, and the call waits for ever", async () => {
    expect(await fault("interrupt kills")).toMatchObject({ hung: true, stdout: "python ended SIGINT\n" });
  });

  test("NaN as a result ends Node, uncaught", async () => {
    const { code, stdout, stderr } = await fault("nan crashes node");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("SyntaxError");
  });

  test("a value that JSON cannot hold ends Python, and the call waits for ever", async () => {
    expect(await fault("unserialisable kills")).toMatchObject({ hung: true, stdout: "python ended\n" });
  });

  test("a proxy collected after Python's death ends Node", async () => {
    const { code, stderr } = await fault("collection crashes node", { node: ["--expose-gc"] });
    expect(code).toBe(1);
    expect(stderr).toContain("ERR_IPC_CHANNEL_CLOSED");
  });

  test("errors have no message", async () => {
    expect((await fault("errors are blank")).stdout).toBe("message=[]\n");
  });

  test("integers beyond 2^53 change", async () => {
    expect((await fault("large integers change")).stdout).toBe("9223372036854776000\n");
  });

  test("ids of calls from Python collide with JavaScript's own", async () => {
    expect((await fault("callback ids collide")).stdout).not.toContain("callback gave 42");
  });

  test("a failed assignment ends Node", async () => {
    const { code, stdout } = await fault("assignment crashes node");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });

  test("Python's prints reach the terminal", async () => {
    expect((await fault("prints reach the terminal")).stdout).toBe("from Python\n");
  });

  test("DEBUG prints every message", async () => {
    expect((await fault("every message is printed", { env: { DEBUG: "1" } })).stdout).toContain("[js -> py]");
  });

  test("a busy Python outlives a killed Node", async () => {
    const script = startScript("stock-faults.ts", { args: ["outlives node"] });
    const python = Number(/\d+/.exec(await script.line("busy"))?.[0]);
    script.child.kill("SIGKILL");
    expect(await endsWithin(python, 1500)).toBe(false);
    expect(await endsWithin(python, 6000)).toBe(true);
  });

  test("a JavaScript function called from a Python thread ends the main thread's loop", async () => {
    expect((await fault("threads steal messages")).stderr).toContain("KeyError: 'action'");
  });

  test("a script never ends by itself", async () => {
    expect(await fault("never ends")).toMatchObject({ hung: true, stdout: "2\n" });
  });

  test("is given up by pythonia after 100 s and answered here", async () => {
    const [result, { stdout }] = await Promise.all([ours, stock.result]);
    expect(Number(Object(result).slept)).toBeGreaterThanOrEqual(longCallSeconds);
    expect(stdout).toBe("rejected after 100\n");
  });
});
