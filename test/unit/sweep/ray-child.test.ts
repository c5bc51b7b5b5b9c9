import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { OpInput, OpOutput } from "../../../ts/backend/backend.js";
import { MiloraError } from "../../../ts/errors.js";
import { rayChildStarter } from "../../../ts/sweep/ray-child.js";
import { createFakeBackend } from "../../support/fake-backend.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

type Turn = OpInput<"rayTasksTurn">;
type News = OpOutput<"rayTasksTurn">["events"];

const good = { exitCode: 0, signal: null, stdout: "{}", stderr: "" };
const machine = { cores: 8, processor: "p", platform: "linux-x64", node: "20.19.0" };

/** A Ray, played: what it tells in each turn. */
const starterOf = (play: (turn: Turn, number: number) => News | Promise<News>) => {
  const turns: Turn[] = [];
  const lost: unknown[] = [];
  const controller = new AbortController();
  const backend = createFakeBackend({
    rayTasksTurn: async (turn) => {
      turns.push(turn);
      return { events: await play(turn, turns.length) };
    },
  });
  const start = rayChildStarter({
    program: ["/node", "main.js"],
    backend,
    signal: controller.signal,
    onLost: (error) => lost.push(error),
  });
  return { start, turns, lost, controller };
};

const workIn = (folder: string) => ({
  folder,
  calls: [
    { args: ["train", "spec.json"], log: "train.log" },
    { args: ["eval"], log: "eval.log" },
  ],
});

describe("rayChildStarter", () => {
  it("gives Ray one task for all calls of a job, and tells when it begins, where, and how it ends", async () => {
    const folder = await temporaryFolder();
    const began: number[] = [];
    const { start, turns } = starterOf((_, number) => {
      if (number === 1) return [];
      if (number === 2) return [{ type: "started", id: "1", host: "10.0.0.7" }];
      expect(began).toEqual([1]);
      writeFileSync(join(folder, "machine.json"), JSON.stringify(machine));
      return [{ type: "ended", id: "1", ends: [good, good] }];
    });
    const end = await start({ ...workIn(folder), onStart: () => began.push(1) });
    expect(end).toEqual({ ends: [good, good], machine });
    expect(turns.map((turn) => turn.start?.length)).toEqual([1, 0, 0]);
    expect(turns[0]?.start?.[0]).toMatchObject({
      programs: [
        { command: ["/node", "main.js", "train", "spec.json"], log: "train.log" },
        { command: ["/node", "main.js", "eval"], log: "eval.log" },
      ],
      directory: process.cwd(),
      folder,
    });
  });

  it("tells a task whose node is gone as lost, and starts the next one", async () => {
    const folder = await temporaryFolder();
    const { start } = starterOf((turn) =>
      (turn.start ?? []).map(({ id }) =>
        id === "1" ? { type: "lost", id, reason: "the node died" } : { type: "ended", id, ends: [good] },
      ),
    );
    expect(await start(workIn(folder))).toMatchObject({ ends: [], lost: "the node died" });
    expect(await start(workIn(folder))).toMatchObject({ ends: [good] });
  });

  it("stops what runs and what waits, and what is asked for afterwards", async () => {
    const folder = await temporaryFolder();
    const { start, turns, controller } = starterOf((turn, number) => {
      if (number === 1) controller.abort();
      return (turn.stop ?? []).map((id) => ({ type: "ended", id, ends: [] }));
    });
    expect(await Promise.all([start(workIn(folder)), start(workIn(folder))])).toEqual([{ ends: [] }, { ends: [] }]);
    expect(turns.flatMap(({ stop }) => stop)).toEqual(["1", "2"]);
    expect(await start(workIn(folder))).toEqual({ ends: [] });
    expect(turns.flatMap(({ stop }) => stop)).toEqual(["1", "2", "3"]);
  });

  it("fails everything where Ray is lost", async () => {
    const folder = await temporaryFolder();
    const error = new MiloraError("scale/lost", "Ray's head is lost.");
    const { start, lost } = starterOf(() => Promise.reject(error));
    const both = [start(workIn(folder)), start(workIn(folder))];
    await Promise.all(both.map((each) => rejectionOf(each, "scale/lost")));
    expect(lost).toEqual([error]);
  });
});
