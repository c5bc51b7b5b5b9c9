"""Sends a run's figures to MLflow while it runs: python examples/python/track.py runs/first [--follow]

For Weights & Biases, put ``wandb.init()`` and ``wandb.log(figures, step=event["step"])`` in place of MLflow's calls.
"""

import json
import sys
import time
from pathlib import Path

import mlflow

with Path(sys.argv[1], "events.jsonl").open("rb") as events, mlflow.start_run():
    while (line := events.readline()) or "--follow" in sys.argv:
        if not line.endswith(b"\n"):  # nothing new yet, or half a line
            events.seek(-len(line), 1)
            time.sleep(1)
            continue
        event = json.loads(line)
        if event["type"] in ("step", "evaluation"):
            prefix = event.get("kind", "dev")
            figures = {f"{prefix}/{name}": value for name, value in event.items() if isinstance(value, float)}
            mlflow.log_metrics(figures, step=event["step"])
        if event["type"] == "finished":
            break
