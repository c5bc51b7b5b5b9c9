"""Generated texts: by the fused engine, all adapters in one batch, and through transformers where it serves none.

This is the one place that decides between the two. In float32 both give the same tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from milora.data import TextEncoder
from milora.engine.adapters import AdapterHost
from milora.engine.decisions import decision_of, routing_of
from milora.engine.fused import Engine, EngineLimits, EngineRequest, FinishedEvent, TokenEvent
from milora.engine.fused.cache import KvCache
from milora.engine.generate import (
    Generated,
    GenerationSettings,
    OnStep,
    PreparedRequest,
    generate_prepared,
    prepare,
)
from milora.engine.packing import MAX_TOKENS
from milora.engine.requests import GenerationRequest, names_experts
from milora.errors import MiloraError
from milora.models import is_sharded

# Bounds of the batch, unless one request alone is beyond them.
_max_rows = 32
_max_cells = 32_768

# What a checkpoint's generation config may say without changing the most probable tokens: its own token ids, which
# requests bring, how a sample would be drawn, and how transformers' loop runs.
_WITHOUT_EFFECT = frozenset(
    (
        "_from_model_config",
        "bos_token_id",
        "cache_implementation",
        "do_sample",
        "eos_token_id",
        "max_length",
        "max_new_tokens",
        "min_p",
        "num_beams",
        "pad_token_id",
        "temperature",
        "top_k",
        "top_p",
        "transformers_version",
        "typical_p",
        "use_cache",
    )
)


def generate_texts(
    host: AdapterHost,
    encoder: TextEncoder,
    requests: Sequence[GenerationRequest],
    settings: GenerationSettings,
    *,
    max_length: int | None,
    on_step: OnStep,
) -> list[Generated]:
    """Answers every request, in the order given; what the engine serves runs in one batch, whichever its adapters.

    Raises:
        MiloraError: those of :func:`milora.engine.generate.prepare`, before anything is computed.
    """
    prepared = prepare(host, encoder, requests, settings, max_length)
    total = len(prepared) * settings.max_new_tokens
    outputs: dict[int, Generated] = {}
    engine = _open_engine(host, prepared, settings)
    if engine is not None:
        served = {index: one for index, one in enumerate(prepared) if one.request.adapter in (None, *engine.adapters)}
        outputs = _by_engine(engine, host, encoder, served, settings, lambda done, _: on_step(done, total))
        # Its memory must not stand beside that of the others' batches.
        del engine
    rest = [index for index in range(len(prepared)) if index not in outputs]
    if rest:
        base = total - len(rest) * settings.max_new_tokens
        others = [prepared[index] for index in rest]
        made = generate_prepared(host, encoder, others, settings, lambda done, _: on_step(base + done, total))
        outputs |= dict(zip(rest, made, strict=True))
    on_step(total, total)
    return [outputs[index] for index in range(len(prepared))]


def _open_engine(
    host: AdapterHost, prepared: Sequence[PreparedRequest], settings: GenerationSettings
) -> Engine | None:
    """An engine with those of the requests' adapters that it serves; None where it serves none of the requests.

    It lives for one call: an adapter may be trained between two.
    """
    if is_sharded(host.base):
        # It reads weights outside a pass of the model.
        return None
    config = host.base.generation_config
    if config is not None and not set(config.to_diff_dict()) <= _WITHOUT_EFFECT:
        return None
    most_tokens = max(len(one.prompt_ids) for one in prepared) + settings.max_new_tokens
    limits = EngineLimits(
        max_rows=max(_max_rows, settings.beams),
        max_cells=max(_max_cells, KvCache.cells(settings.beams, most_tokens)),
        prefill_tokens=MAX_TOKENS,
    )
    try:
        engine = Engine(host.base, limits, compiled=settings.compiled)
    except MiloraError as error:
        if error.code != "model/unsupported":
            raise
        return None
    # Row by row it is slower than transformers' batches.
    if engine.slow_because is not None:
        return None
    adapters = dict.fromkeys(one.request.adapter for one in prepared)
    serves = [adapter is None or _load(engine, host, adapter) for adapter in adapters]
    return engine if any(serves) else None


def _load(engine: Engine, host: AdapterHost, adapter: str) -> bool:
    """Whether the engine serves an adapter; PEFT may run one that it doesn't."""
    try:
        engine.load(adapter, host.config(adapter), host.state(adapter))
    except MiloraError as error:
        if error.code not in ("adapter/unsupported", "adapter/mismatch"):
            raise
        return False
    return True


def _by_engine(
    engine: Engine,
    host: AdapterHost,
    encoder: TextEncoder,
    asked: Mapping[int, PreparedRequest],
    settings: GenerationSettings,
    on_step: OnStep,
) -> dict[int, Generated]:
    """The texts of requests, by their places; one that overflows is left out, since PEFT may add up in float32."""
    numbers = {engine.submit(_engine_request(one, encoder, settings)): index for index, one in asked.items()}
    total = len(asked) * settings.max_new_tokens
    outputs: dict[int, Generated] = {}
    done = 0  # of each request's most tokens; one that ends early is done with all of them
    while not engine.is_idle:
        for event in engine.step(1):
            if isinstance(event, TokenEvent):
                done += len(event.token_ids)
            elif event.error is None:
                index = numbers[event.request]
                done += settings.max_new_tokens - len(event.token_ids)
                outputs[index] = _read_end(event, host, encoder, asked[index], settings)
        on_step(done, total)
    return outputs


def _engine_request(one: PreparedRequest, encoder: TextEncoder, settings: GenerationSettings) -> EngineRequest:
    request = one.request
    return EngineRequest(
        prompt_ids=tuple(one.prompt_ids),
        adapter=request.adapter,
        max_new_tokens=settings.max_new_tokens,
        stop_ids=frozenset(encoder.stop_ids),
        beams=settings.beams,
        top_k=request.top_k,
        allowed=request.allowed,
        decision=request.decision,
        keeps_decision=request.keeps_decision,
    )


def _read_end(
    event: FinishedEvent,
    host: AdapterHost,
    encoder: TextEncoder,
    one: PreparedRequest,
    settings: GenerationSettings,
) -> Generated:
    stopped = event.reason == "stop"
    request, gates = one.request, event.gates
    routing, decision = None, None
    if request.adapter is not None and gates is not None:
        if settings.explain and names_experts(host.config(request.adapter)):
            routing = routing_of(gates)
        if request.keeps_decision:
            decision = decision_of(gates)
    return Generated(
        text=encoder.decode_continuation(event.token_ids[:-1] if stopped else event.token_ids),
        prompt_tokens=len(one.prompt_ids),
        new_tokens=len(event.token_ids),
        stopped=stopped,
        routing=routing,
        decision=decision,
        truncated=one.truncated,
    )
