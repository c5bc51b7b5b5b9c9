"""``examples/python/track.py``, with a module in the tracker's place that keeps what it is told."""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "python" / "track.py"

STEP = {"type": "step", "kind": "weights", "loss": 2.5, "gradientNorm": None, "learningRate": 1e-4, "tokens": 90}
EVENTS = [
    {"type": "started", "run": "r", "trainable": 10},
    {**STEP, "step": 1},
    {**STEP, "step": 2, "loss": 2.25},
    {"type": "evaluation", "step": 2, "perplexity": 9.5, "best": True, "balance": None, "argmaxShare": None},
    {"type": "finished", "step": 2, "seconds": 1.5},
]
LOGGED = [
    (1, {"weights/loss": 2.5, "weights/learningRate": 1e-4}),
    (2, {"weights/loss": 2.25, "weights/learningRate": 1e-4}),
    (2, {"dev/perplexity": 9.5}),
]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[str, float]]]:
    """What the tracker was told."""
    told: list[tuple[int, dict[str, float]]] = []
    module = ModuleType("mlflow")
    monkeypatch.setattr(module, "start_run", contextlib.nullcontext, raising=False)
    monkeypatch.setattr(module, "log_metrics", lambda figures, step: told.append((step, figures)), raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return told


def test_a_whole_record(tmp_path, monkeypatch, logged):
    lines = [json.dumps(event) for event in EVENTS]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert logged == LOGGED


def test_a_record_that_grows_also_by_half_a_line(tmp_path, monkeypatch, logged):
    file = tmp_path / "events.jsonl"
    text = "".join(json.dumps(event) + "\n" for event in EVENTS)
    file.write_text(text[:150], encoding="utf-8")

    pause = time.sleep

    def grow() -> None:
        pause(0.2)
        with file.open("a", encoding="utf-8") as rest:
            rest.write(text[150:])

    monkeypatch.setattr(sys, "argv", [SCRIPT.name, str(tmp_path), "--follow"])
    monkeypatch.setattr(time, "sleep", lambda _: pause(0.01))
    writer = threading.Thread(target=grow)
    writer.start()
    runpy.run_path(str(SCRIPT), run_name="__main__")
    writer.join()
    assert logged == LOGGED
