"""``benchTrain``, ``trainCurves``, ``benchDecode``, ``benchTenants``: measurements of the open model."""

from __future__ import annotations

from typing import Any

from milora.bench import (
    DecodeBench,
    DecodeMethod,
    DecodePeakTrial,
    DecodeRow,
    DecodeSizes,
    Method,
    PeakTrial,
    Row,
    TenantBench,
    TenantRow,
    TrainBench,
    contenders,
    decode_peak_bytes,
    loss_curves,
    peak_bytes,
    time_decoding,
    time_tenants,
    trained_method,
)
from milora.bench import time_training as time_steps
from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ops import session

_PEAK_STAGE = "peak memory, a process each"


def bench_train(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Times training steps of our methods and of transformers' Trainer in turn, then measures each one's memory."""
    opened = _bare()
    methods = [
        Method(each["method"], each["config"], each["balance"], each["scheduled"]) for each in payload["methods"]
    ]
    sizes = {"tokens": payload["tokens"], "batch": payload["batch"]}
    bench = TrainBench(methods, payload["peer"], rounds=payload["rounds"], compiled=payload["compile"], **sizes)
    base = opened.opened.model
    rows = time_steps(base, bench, session.reporter(call, f"steps of {bench.tokens} tokens a row"))
    found = contenders(base, bench)
    on_peak = session.reporter(call, _PEAK_STAGE)
    peaks: list[int | None] = []
    for index, contender in enumerate(found):
        on_peak(index, len(found))
        if contender.compiled:
            # A compiler's memory says nothing about a step's.
            peaks.append(None)
            continue
        trial = PeakTrial(**_placed(opened), contender=contender, tokens=bench.tokens, batch=bench.batch)
        peaks.append(peak_bytes(trial))
    return {"rows": [_train_json(row, peak) for row, peak in zip(rows, peaks, strict=True)]}


def train_curves(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """The losses of LoRA by our session and by the Trainer."""
    base = _bare().opened.model
    sizes = {name: payload[name] for name in ("tokens", "batch", "steps")}
    ours, peer = loss_curves(base, payload["config"], **sizes)
    return {"milora": ours, "hfTrainer": peer}


def bench_decode(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Times one prompt's texts by each method in our engine and in transformers, then measures each one's memory."""
    opened = _bare()
    methods = [_method(each) for each in payload["methods"]]
    methods += [trained_method(folder) for folder in payload["adapters"]]
    sizes = DecodeSizes(
        prompt_tokens=payload["promptTokens"],
        new_tokens=payload["newTokens"],
        beams=tuple(payload["beams"]),
        context_length=opened.opened.context_length,
    )
    bench = DecodeBench(
        methods=methods,
        sizes=sizes,
        rounds=payload["rounds"],
        row_seconds=payload["rowSeconds"],
        peer=payload["peer"],
        compiled=payload["compile"],
    )
    rows, slow_because = time_decoding(opened.opened.model, bench, call.step)
    peaks: list[int | None] = [None] * len(rows)
    for index, row in enumerate(rows if payload["peak"] else []):
        call.step(_PEAK_STAGE, index, len(rows))
        if row.contender.compiled:
            # A compiler's memory says nothing about a text's.
            continue
        trial = DecodePeakTrial(**_placed(opened), contender=row.contender, sizes=sizes, seconds=bench.row_seconds)
        peaks[index] = decode_peak_bytes(trial)
    return {
        "rows": [_decode_json(row, peak) for row, peak in zip(rows, peaks, strict=True)],
        "slowBecause": slow_because,
    }


def bench_tenants(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Times batches of many tenants in our engine, beside its own base and PEFT's ``adapter_names``."""
    opened = _bare()
    bench = TenantBench(
        methods=[_method(each) for each in payload["methods"]],
        peer=payload.get("peer"),
        tenants=tuple(payload["tenants"]),
        rows_per_tenant=tuple(payload["rowsPerTenant"]),
        prompt_tokens=payload["promptTokens"],
        new_tokens=payload["newTokens"],
        rounds=payload["rounds"],
        row_seconds=payload["rowSeconds"],
        context_length=opened.opened.context_length,
    )
    figures = time_tenants(opened.opened.model, bench, call.step)
    return {
        "rows": [_tenant_json(row) for row in figures.rows],
        "skipped": [
            {"tenants": each.tenants, "engine": each.engine, "reason": each.reason} for each in figures.skipped
        ],
        "slowBecause": figures.slow_because,
    }


def _bare() -> session.OpenSession:
    opened = session.current()
    if opened.host.names:
        message = "A bench needs the model without adapters; unload them, or open a session of its own."
        raise MiloraError("input/invalid-spec", message, found=", ".join(opened.host.names))
    return opened


def _placed(opened: session.OpenSession) -> dict[str, str]:
    """The open model by the names with which another process opens it."""
    placement = opened.opened.placement
    return {
        "model": opened.opened.source.name,
        "device": str(placement.device),
        "dtype": str(placement.dtype).removeprefix("torch."),
        "attention": placement.attention,
    }


def _method(fields: dict[str, Any]) -> DecodeMethod:
    return DecodeMethod(fields["method"], fields["topK"], fields["config"], fields["cachesNorms"])


def _train_json(row: Row, peak: int | None) -> dict[str, Any]:
    return {
        "method": row.method,
        "engine": row.engine,
        "compiled": row.compiled,
        "attention": row.attention,
        "tokensPerRow": row.tokens_per_row,
        "tokensPerSecond": row.tokens_per_second,
        "ratioToPeer": row.ratio_to_peer,
        "ratioToEagerPeer": row.ratio_to_eager_peer,
        "stepToLora": row.step_to_lora,
        "peakBytes": peak,
    }


def _decode_json(row: DecodeRow, peak: int | None) -> dict[str, Any]:
    contender = row.contender
    return {
        "method": contender.method.name,
        "topK": contender.method.top_k,
        "adapter": contender.method.folder,
        "beams": contender.beams,
        "engine": contender.engine,
        "compiled": contender.compiled,
        "hfBecause": contender.hf_because,
        "tokensPerSecond": row.tokens_per_second,
        "ratioToBase": row.ratio_to_base,
        "ratioToHfBase": row.ratio_to_hf_base,
        "prefillSeconds": row.prefill_seconds,
        "newTokens": row.new_tokens,
        "sameTokens": row.same_tokens,
        "peakBytes": peak,
    }


def _tenant_json(row: TenantRow) -> dict[str, Any]:
    read = row.step_bytes
    return {
        "method": row.method.name,
        "topK": row.method.top_k,
        "tenants": row.batch.tenants,
        "rowsPerTenant": row.batch.rows_per_tenant,
        "engine": row.engine,
        "tokensPerSecond": row.tokens_per_second,
        "baseTokensPerSecond": row.base_tokens_per_second,
        "ratioToBase": row.ratio_to_base,
        "ratioToPeft": row.ratio_to_peft,
        "newTokens": row.new_tokens,
        "sameTokens": row.same_tokens,
        "stepBytes": {"base": read.base, "adapters": read.adapters, "keysAndValues": read.keys_values},
        "expectedRatio": read.expected_ratio,
    }
