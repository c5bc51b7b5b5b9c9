"""Scores an adapter with lm-evaluation-harness, on a task of the harness or of a folder of your own.

python examples/python/lm_eval_adapter.py base-model adapter arc_easy [task-folder]
"""

import sys

import lm_eval
from lm_eval.tasks import TaskManager

from milora.lm_eval import MiloraLM

base, adapter, task, *folders = sys.argv[1:]
# The harness' own model `hf` would let the routers read the continuations too.
model = MiloraLM(pretrained=base, peft=adapter, batch_size=8, device="cpu")
found = lm_eval.simple_evaluate(
    model=model,
    tasks=[task],
    task_manager=TaskManager(include_path=folders[0] if folders else None),
    limit=50,
    bootstrap_iters=0,
)
assert found is not None
for name, value in found["results"][task].items():
    if isinstance(value, float):
        print(f"{task} {name}: {value:.3f}")
