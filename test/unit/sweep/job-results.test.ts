import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { sweepRecordSchema } from "../../../ts/runs/sweep-record.js";
import { readJobResults } from "../../../ts/sweep/job-results.js";
import { jobPlaces } from "../../../ts/sweep/run-job.js";
import { madeUpResult } from "../../support/results.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const result = madeUpResult("1100");

const job = (id: string, change: object = {}) => ({
  id,
  name: id,
  kind: "run",
  group: "g",
  row: id,
  seed: 0,
  tasks: ["toy"],
  before: null,
  state: "finished",
  attempts: 1,
  error: null,
  finished: null,
  machine: null,
  train: null,
  scores: [result],
  ...change,
});

it("reads what runs and untuned models answered, where the file still holds the score that the sweep recorded", async () => {
  const out = await temporaryFolder();
  const files: Readonly<Record<string, string | undefined>> = {
    good: JSON.stringify(result),
    // Scored again by hand: other rows, or another adapter in the run's folder.
    protocol: JSON.stringify({ ...result, protocol: "first 2 of 4 test rows" }),
    accuracy: JSON.stringify({ ...result, accuracy: 0.25 }),
    broken: '{"task": "to',
    foreign: "[1, 2]",
    gone: undefined,
    unfinished: JSON.stringify(result),
  };
  for (const [id, text] of Object.entries(files)) {
    const file = join(jobPlaces(out, id).run, "results", "toy-generate.json");
    await mkdir(dirname(file), { recursive: true });
    if (text === undefined) await rm(dirname(file), { recursive: true });
    else await writeFile(file, text);
  }
  const { outputs } = jobPlaces(out, "before");
  await mkdir(dirname(outputs), { recursive: true });
  await writeFile(outputs, JSON.stringify({ results: [result, { ...result, task: "another" }] }));
  const ids = Object.keys(files);
  const { jobs } = sweepRecordSchema.parse({
    format: 1,
    name: "s",
    description: null,
    model: "m",
    created: "c",
    plan: ids,
    jobs: [
      ...ids.map((id) => job(id, id === "unfinished" ? { state: "stopped", scores: null } : {})),
      job("before", { kind: "before", seed: null }),
    ],
  });
  const { results: read, problems } = await readJobResults(out, jobs);
  expect(Object.fromEntries([...read].map(([id, results]) => [id, results.length]))).toEqual({
    good: 1,
    protocol: 0,
    accuracy: 0,
    broken: 0,
    foreign: 0,
    gone: 0,
    before: 1,
  });
  // Each that could not be read is listed with its reason.
  expect(problems.map((line) => line.split(",")[0])).toEqual(["protocol", "accuracy", "broken", "foreign", "gone"]);
  expect(problems[2]).toContain("not JSON");
  expect(problems[4]).toContain("is gone");
  const rows = read.get("good")?.[0]?.rows ?? [];
  expect(rows.map(({ correct }) => correct)).toEqual([true, true, false, false]);
  // Prompts are kept as checksums: equal where they are equal, and short.
  expect(new Set(rows.map(({ prompt }) => prompt)).size).toBe(4);
  expect(rows[0]?.prompt).toHaveLength(8);
});
