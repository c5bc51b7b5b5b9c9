"""The operations of ``ts/backend/ops.ts``: name → function of validated JSON input to JSON output."""

from __future__ import annotations

from milora.server.ops import (
    adapters,
    bench,
    data,
    engine,
    evaluation,
    generation,
    hello,
    hub,
    model,
    ray,
    tensorboard,
    training,
)
from milora.server.ops.memory import Operation, reports_memory
from milora.server.ranks.group import on_ranks
from milora.tuners import register

register()

_operations: dict[str, Operation] = {
    "hello": hello.hello,
    "describeModel": model.describe_model,
    "openModel": model.open_model_op,
    "closeModel": model.close_model,
    "loadRows": data.load_rows,
    "exportRows": data.export_rows,
    "fetchHubRows": hub.fetch_hub_rows,
    "attachAdapter": adapters.attach_adapter,
    "loadAdapter": adapters.load_adapter,
    "unloadAdapter": adapters.unload_adapter,
    "saveAdapter": adapters.save_adapter,
    "importLora": adapters.import_lora_op,
    "exportLora": adapters.export_lora_op,
    "routePrompts": evaluation.route_prompts,
    "startTraining": training.start_training,
    "setMicroBatch": training.set_micro_batch,
    "trialStep": training.trial_step,
    "weightsStep": training.weights_step,
    "activationStep": training.activation_step,
    "pruneCandidates": training.prune_candidates,
    "discretise": training.discretise,
    "trainingFigures": training.training_figures,
    "saveTraining": training.save_training,
    "loadTraining": training.load_training,
    "stopTraining": training.stop_training,
    "writeScalars": tensorboard.write_scalars,
    "dataLoss": evaluation.data_loss,
    "generate": generation.generate,
    "scoreChoices": evaluation.score_choices,
    "benchTrain": bench.bench_train,
    "trainCurves": bench.train_curves,
    "benchDecode": bench.bench_decode,
    "benchTenants": bench.bench_tenants,
    "inspectRay": ray.inspect_ray,
    "rayTasksOpen": ray.ray_tasks_open,
    "rayTasksTurn": ray.ray_tasks_turn,
    "rayTasksClose": ray.ray_tasks_close,
    "engineOpen": engine.engine_open,
    "engineLoad": engine.engine_load,
    "engineUnload": engine.engine_unload,
    "engineAdapters": engine.engine_adapters,
    "engineStatistics": engine.engine_statistics,
    "engineSubmit": engine.engine_submit,
    "engineStep": engine.engine_step,
    "engineClose": engine.engine_close,
}

OPS: dict[str, Operation] = {
    name: on_ranks(name, reports_memory(operation)) for name, operation in _operations.items()
}
