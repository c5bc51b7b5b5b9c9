import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readFileSync } from "node:fs";
import { killAndResume } from "../../scripts/lib/kills.js";
import { seededRandom } from "../../ts/util/random.js";
import { programFile } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";
import { writeRunSpec } from "../support/training-runs.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

describe("kill -9 at random moments of a bi-level run", () => {
  // scripts/kills.ts makes as many as one likes.
  it("and --resume end with the numbers and the record of the undisturbed run", async () => {
    const train = { maxSteps: 60, epochs: 100, checkpointEvery: 3, evalEvery: 4, patience: 100 };
    const method = { kind: "milora", rank: 4, dropout: 0.1 };
    const spec = JSON.parse(readFileSync(await writeRunSpec({ model: model.folder, method, train }), "utf8"));
    const result = await killAndResume({
      command: [programFile],
      spec,
      folder: await temporaryFolder(),
      kills: 3,
      random: seededRandom(7),
    });
    expect(result.kills).toBe(3);
    expect(result.runs).toBeGreaterThan(0);
  });
});
