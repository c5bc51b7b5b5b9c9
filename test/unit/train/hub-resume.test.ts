import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { TrainEvent } from "../../../ts/runs/events.js";
import { runSchema } from "../../../ts/spec/run.js";
import { cacheFolder, createFailingHub, createFakeHub, unreachable } from "../../support/fake-hub.js";
import { createFakeTraining } from "../../support/fake-training.js";
import { recordOf, startFineTuning } from "../../support/fine-tuning.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

const spec = runSchema.parse({
  model: "test/llama",
  method: { kind: "milora", rank: 2 },
  data: { hub: "me/pairs", columns: { prompt: "ask", answer: "reply" } },
  train: { batchSize: 4, maxSteps: 6 },
});

const pairs = (reply: string) => ({
  "me/pairs default train": Array.from({ length: 20 }, (_, row) => ({ ask: `q${row}`, reply })),
});

const stopAt = (step: number) => (event: TrainEvent) =>
  event.type === "step" && event.step >= step ? { stop: "seen enough" } : undefined;

const warningsOf = (out: string): string =>
  recordOf(out)
    .flatMap((event) => (event.type === "warning" ? [event.message] : []))
    .join("\n");

test("a run on rows of the hub resumes from the cache, or with its own rows where that is gone", async () => {
  const hub = await createFakeHub(pairs("r"));
  const out = join(await temporaryFolder(), "run");
  const run = (step: number, changes: object) =>
    startFineTuning({ backend: createFakeTraining(), spec, out, hub, decide: stopAt(step), ...changes }).result;
  await run(2, {});
  const offline = await createFailingHub(unreachable, hub.home);
  await run(3, { hub: offline, resume: true });
  expect(warningsOf(out)).not.toContain("is gone");
  await rm(cacheFolder(hub.home), { recursive: true });
  await run(4, { hub: offline, resume: true });
  expect(warningsOf(out)).toContain("The source of the rows (me/pairs on the hub) is gone");
  const changed = await createFakeHub(pairs("another"));
  const error = await rejectionOf(run(5, { hub: changed, resume: true }), "run/not-resumable");
  expect(error.message).toContain("The training rows of me/pairs on the hub changed");
});
