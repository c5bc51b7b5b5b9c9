"""``benchTrain``, ``trainCurves``: measurements of the open model."""

from __future__ import annotations

from typing import Any

from milora.bench import Contender, Method, PeakTrial, Row, TrainBench, contenders, loss_curves, peak_bytes
from milora.bench import time_training as time_steps
from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ops import session


def bench_train(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Times training steps of our methods and of transformers' Trainer in turn, then measures each one's memory."""
    opened = _bare()
    methods = [
        Method(each["method"], each["config"], each["balance"], each["scheduled"]) for each in payload["methods"]
    ]
    sizes = {"tokens": payload["tokens"], "batch": payload["batch"]}
    bench = TrainBench(methods, payload["peer"], rounds=payload["rounds"], **sizes)
    base = opened.opened.model
    rows = time_steps(base, bench, session.reporter(call, f"steps of {bench.tokens} tokens a row"))
    found = contenders(base, bench)
    on_peak = session.reporter(call, "peak memory, a process each")
    peaks: list[int] = []
    for index, contender in enumerate(found):
        on_peak(index, len(found))
        peaks.append(peak_bytes(_trial(opened, contender, bench)))
    return {"rows": [_json(row, peak) for row, peak in zip(rows, peaks, strict=True)]}


def train_curves(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """The losses of LoRA by our session and by the Trainer."""
    base = _bare().opened.model
    sizes = {name: payload[name] for name in ("tokens", "batch", "steps")}
    ours, peer = loss_curves(base, payload["config"], **sizes)
    return {"milora": ours, "hfTrainer": peer}


def _bare() -> session.OpenSession:
    opened = session.current()
    if opened.host.names:
        message = "A bench needs the model without adapters; unload them, or open a session of its own."
        raise MiloraError("input/invalid-spec", message, found=", ".join(opened.host.names))
    return opened


def _trial(opened: session.OpenSession, contender: Contender, bench: TrainBench) -> PeakTrial:
    placement = opened.opened.placement
    dtype = str(placement.dtype).removeprefix("torch.")
    return PeakTrial(
        model=opened.opened.source.name,
        device=str(placement.device),
        dtype=dtype,
        attention=placement.attention,
        contender=contender,
        tokens=bench.tokens,
        batch=bench.batch,
    )


def _json(row: Row, peak: int) -> dict[str, Any]:
    return {
        "method": row.method,
        "engine": row.engine,
        "attention": row.attention,
        "tokensPerRow": row.tokens_per_row,
        "tokensPerSecond": row.tokens_per_second,
        "ratioToPeer": row.ratio_to_peer,
        "ratioToEagerPeer": row.ratio_to_eager_peer,
        "stepToLora": row.step_to_lora,
        "peakBytes": peak,
    }
