"""The memory of decoding."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from milora.bench.decode import DecodeContender, DecodeMethod, Decoders, DecodeSizes
from milora.bench.peak_process import answer, opened, peak_in_process
from milora.training.memory import MemoryGauge


@dataclass(frozen=True)
class DecodePeakTrial:
    """What the process does: opens a model, then writes one text; the names are those of an open model."""

    model: str
    device: str
    dtype: str
    attention: str
    contender: DecodeContender
    sizes: DecodeSizes
    seconds: float


def decode_peak_bytes(trial: DecodePeakTrial) -> int:
    """The most that the adapter, the KV cache and all else took above the loaded model.

    Raises:
        MiloraError: ``python/exception`` where the process did not come to its end.
    """
    return peak_in_process("milora.bench.decode_peak", asdict(trial))


def measure(trial: DecodePeakTrial) -> int:
    """The measurement itself, in this process."""
    base = opened(trial.model, trial.device, trial.dtype, trial.attention)
    for parameter in base.parameters():
        # Out of the mapped file, whose pages would stay when the engine lays weights side by side.
        parameter.data = parameter.data.clone()
    decoders = Decoders(base, trial.sizes)
    decoders.prepare(trial.contender.method)
    gauge = MemoryGauge(base.device)
    decoders.generator(trial.contender).run(trial.seconds, lambda: None)
    return gauge.used()


def _measure(fields: dict[str, Any]) -> int:
    contender, sizes = fields["contender"], fields["sizes"]
    contender = DecodeContender(**{**contender, "method": DecodeMethod(**contender["method"])})
    sizes = DecodeSizes(**{**sizes, "beams": (contender.beams,)})
    return measure(DecodePeakTrial(**{**fields, "contender": contender, "sizes": sizes}))


if __name__ == "__main__":
    answer(_measure)
