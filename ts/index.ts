/** The public API of milora. */
export { openMilora, type Milora, type OpenMiloraOptions as OpenOptions } from "./client/milora.js";
export type { Placement, SessionHooks } from "./client/session.js";
export type {
  Evaluated,
  EvaluateOptions,
  GenerateOptions,
  GenerateRequest,
  RoutingOptions,
  TrainOptions,
} from "./client/call-options.js";
export type { ExportOptions, ImportOptions, UpcyclingResult } from "./client/upcycling.js";
export { loadRunSpec } from "./client/load-spec.js";
export type { PythonRows, TrainInput } from "./client/options.js";
export {
  BridgeDiedError,
  errorCodes,
  exitCodeOf,
  MiloraError,
  PythonError,
  type ErrorCode,
  type ErrorDetails,
} from "./errors.js";
export type { HubRecord } from "./data/hub.js";
export { display, type DisplayOptions } from "./display/display.js";
export type { Figure } from "./display/figure.js";
export { routingFigure } from "./display/routing-figure.js";
export type { Table } from "./display/table.js";
export { trainingFigure } from "./display/training-figure.js";
export type { EvaluationResult, ScoredRow } from "./evaluate/result.js";
export { judge, type JudgeHooks, type Judging } from "./evaluate/judge/judge.js";
export type { CostEstimate } from "./evaluate/judge/cost.js";
export type { JudgeOptionsInput as JudgeOptions } from "./evaluate/judge/options.js";
export type { ResultRecord } from "./runs/result-record.js";
export type { RoutingFigures } from "./runs/routing-record.js";
export {
  compareResults,
  type ComparableResult,
  type ComparedSide,
  type ResultComparison,
  type Verdict,
} from "./report/compare-results.js";
export { compareResultFiles } from "./client/offline.js";
export type { ChunkStream, TextChunk } from "./client/stream.js";
export type { Asked, Message, Routing, RoutingChange } from "./generate/asked-text.js";
export type { GeneratedText } from "./generate/generate-texts.js";
export type {
  EngineAdapter,
  EngineStatistics,
  EngineOptions,
  SamplingOptions,
  StreamedText,
  StreamRequest,
  TextEngine,
  TextStream,
} from "./generate/text-engine.js";
export type { GraphLayer, GraphModule, ModelGraph } from "./graph/model-graph.js";
export type { ActivatedCount, ParameterCount } from "./graph/parameter-count.js";
export type { TextSeconds } from "./generate/writing.js";
export type { TrainEvent } from "./runs/events.js";
export type { HubChoice } from "./spec/data.js";
export type { Method, MethodInput } from "./spec/method.js";
export type { RunSpec, RunSpecInput } from "./spec/run.js";
export type { TrainSettings } from "./spec/train.js";
export { defineTask } from "./tasks/define-task.js";
export type { Scorer, SplitName, Task } from "./tasks/task.js";
export type { DecideHook, TrainDecision, TrainResult, TrainRun } from "./train/run-handle.js";
export type { Batch } from "./train/batches.js";
export type { TrainEstimate } from "./train/dry-run.js";
export type { MemoryEstimate } from "./train/memory-estimate.js";
export type { DevLoss } from "./train/dev-loss.js";
export type { TrainerPhase } from "./train/phases.js";
export type { StepFigures } from "./train/step-figures.js";
export type { Trainer } from "./train/trainer.js";
