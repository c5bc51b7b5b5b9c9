"""The memory of a training step, measured in a process of its own: one process cannot tell two engines apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass

import torch

from milora.bench.train import Contender
from milora.errors import MiloraError
from milora.models import choose_placement, open_model, resolve_source
from milora.training.memory import MemoryGauge
from milora.tuners import register

_STEPS = 2
"""The second has AdamW's moments too."""
_TIMEOUT_SECONDS = 1200


@dataclass(frozen=True)
class PeakTrial:
    """What the process does: opens a model, then trains two steps; the names are those of an open model."""

    model: str
    device: str
    dtype: str
    attention: str
    contender: Contender
    tokens: int
    batch: int


def peak_bytes(trial: PeakTrial) -> int:
    """The most that adapter, optimiser and two steps took above the loaded model.

    Raises:
        MiloraError: ``python/exception`` where the process did not come to its end.
    """
    command = [sys.executable, "-m", "milora.bench.peak"]
    environment = {**os.environ, "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(
        command,
        input=json.dumps(asdict(trial)),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["nothing on stderr"]
        message = f"The process that measures memory ended with code {done.returncode}: {last[0]}"
        raise MiloraError("python/exception", message)
    return int(json.loads(done.stdout.splitlines()[-1])["bytes"])


def measure(trial: PeakTrial) -> int:
    """The measurement itself, in this process."""
    register()
    placement = choose_placement(trial.device, trial.dtype, trial.attention)
    base = open_model(resolve_source(trial.model), placement, 0, lambda _done, _total: None).model
    with torch.no_grad():
        # Weights in a mapped file count only once they are read.
        base(input_ids=torch.zeros(1, 1, dtype=torch.long, device=base.device))
    gauge = MemoryGauge(base.device)
    engine = trial.contender.open(base, trial.tokens, trial.batch)
    for _ in range(_STEPS):
        engine.step()
    return gauge.used()


def _main() -> None:
    fields = json.loads(sys.stdin.read())
    trial = PeakTrial(**{**fields, "contender": Contender(**fields["contender"])})
    found = measure(trial)
    print(json.dumps({"bytes": found}))


if __name__ == "__main__":
    _main()
