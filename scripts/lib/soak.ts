import { readFileSync, readdirSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { PythonBackend } from "../../ts/bridge/index.js";
import { resolveGraph } from "../../ts/graph/model-graph.js";
import type { RunSpec } from "../../ts/spec/run.js";
import { fineTune } from "../../ts/train/fine-tune.js";
import { startRun } from "../../ts/train/run-handle.js";

/** What both sides hold at a step. */
export interface SoakSample {
  readonly step: number;
  /** Bytes of Node's heap after a collection, and of Python's resident memory. */
  readonly node: number;
  readonly python: number;
  readonly nodeFiles: number;
  readonly pythonFiles: number;
}

/** Files, and bytes of memory, of a process; Linux alone tells. */
const filesOf = (pid: number | "self"): number => readdirSync(`/proc/${pid}/fd`).length;
const residentOf = (pid: number): number => {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) * 1024;
};

const collector = (): (() => void) => {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
};

/** Makes a run on the open model and samples both sides at each of its evaluations. */
export const soak = async ({
  backend,
  spec,
  out,
  onSample = () => undefined,
}: {
  readonly backend: PythonBackend;
  readonly spec: RunSpec;
  readonly out: string;
  readonly onSample?: (sample: SoakSample) => void;
}): Promise<readonly SoakSample[]> => {
  const collect = collector();
  const { pid } = await backend.call("hello", {});
  const graph = resolveGraph(await backend.call("describeModel", { model: spec.model }));
  const session = { device: "cpu", dtype: "float32", versions: {} };
  const samples: SoakSample[] = [];
  const sample = (step: number): void => {
    collect();
    const { heapUsed: node } = process.memoryUsage();
    const files = { nodeFiles: filesOf("self"), pythonFiles: filesOf(pid) };
    const taken = { step, node, python: residentOf(pid), ...files };
    samples.push(taken);
    onSample(taken);
  };
  await startRun((control) => fineTune({ backend, graph, spec, out, resume: false, control, session }), {
    onEvent: (event) => {
      if (event.type === "evaluation") sample(event.step);
    },
  }).result;
  return samples;
};
