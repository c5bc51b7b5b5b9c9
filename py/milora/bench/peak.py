"""The memory of a training step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from milora.bench.peak_process import answer, opened, peak_in_process
from milora.bench.train import Contender
from milora.training.memory import MemoryGauge

_STEPS = 2
"""The second has AdamW's moments too."""


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
    return peak_in_process("milora.bench.peak", asdict(trial))


def measure(trial: PeakTrial) -> int:
    """The measurement itself, in this process."""
    base = opened(trial.model, trial.device, trial.dtype, trial.attention)
    gauge = MemoryGauge(base.device)
    engine = trial.contender.open(base, trial.tokens, trial.batch)
    for _ in range(_STEPS):
        engine.step()
    return gauge.used()


def _measure(fields: dict[str, Any]) -> int:
    return measure(PeakTrial(**{**fields, "contender": Contender(**fields["contender"])}))


if __name__ == "__main__":
    answer(_measure)
