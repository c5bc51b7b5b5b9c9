"""``engineOpen``, ``engineLoad``, ``engineUnload``, ``engineSubmit``, ``engineStep``, ``engineClose``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from milora.checkpoint import read_adapter
from milora.engine.fused import Engine, EngineEvent, EngineLimits, EngineRequest, FinishedEvent, Sampling, TokenEvent
from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ops import session


def engine_open(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Makes the engine of the open model."""
    opened = session.current()
    if opened.engine is not None:
        raise MiloraError("input/invalid-spec", "An engine is open already; close it with engineClose first.")
    limits = EngineLimits(
        max_rows=payload["maxRows"],
        max_cells=payload["maxTokens"],
        prefill_tokens=payload["prefillTokens"],
        context_length=opened.opened.context_length,
    )
    engine = Engine(
        opened.opened.model,
        limits,
        opened.encoder.decode_continuation,
        without_adapters=functools.partial(opened.host.use, None),
    )
    opened.engine = engine
    return {"slowBecause": engine.slow_because}


def engine_load(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Makes an adapter of a folder resident."""
    config, tensors = read_adapter(Path(payload["folder"]))
    return {"bytes": _engine().load(payload["adapter"], config, tensors)}


def engine_unload(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Forgets an adapter."""
    _engine().unload(payload["adapter"])
    return {}


def engine_submit(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Puts a request in line."""
    engine, encoder = _engine(), session.current().encoder
    (prompt_ids,) = encoder.prompt_ids([session.prompt_of(payload)])
    sampling = payload["sampling"]
    request = EngineRequest(
        prompt_ids=tuple(prompt_ids),
        adapter=payload["adapter"],
        max_new_tokens=payload["maxNewTokens"],
        stop_ids=frozenset(encoder.stop_ids),
        stop_strings=tuple(payload["stop"]),
        sampling=Sampling(
            temperature=sampling["temperature"],
            top_k=sampling["topK"],
            top_p=sampling["topP"],
            repetition_penalty=sampling["repetitionPenalty"],
            seed=sampling["seed"],
        ),
        beams=payload["beams"],
        top_k=payload["topK"],
    )
    return {"request": engine.submit(request), "promptTokens": len(prompt_ids)}


def engine_step(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Ends aborted requests and computes some tokens of every other.

    A cancel that comes by signal ends every request, as whatever else goes wrong in a step does; without signals it
    waits for the end of the step, whose cost is bounded.
    """
    engine = _engine()
    for request in payload["abort"]:
        engine.abort(request)
    return {"events": _events_json(engine.step(payload["maxSteps"]))}


def engine_close(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Lets go of the engine; without one nothing happens."""
    session.current().engine = None
    return {}


def _engine() -> Engine:
    engine = session.current().engine
    if engine is None:
        raise MiloraError("input/invalid-spec", "No engine is open; call engineOpen first.")
    return engine


def _events_json(events: list[EngineEvent]) -> list[dict[str, Any]]:
    """One entry a request, in the order of their first events."""
    entries: dict[int, dict[str, Any]] = {}
    for event in events:
        fresh = {"request": event.request, "text": "", "newTokens": 0, "end": None}
        entry = entries.setdefault(event.request, fresh)
        if isinstance(event, TokenEvent):
            entry["text"] += event.text
            entry["newTokens"] += len(event.token_ids)
        else:
            entry["end"] = _end_json(event)
    return list(entries.values())


def _end_json(event: FinishedEvent) -> dict[str, Any]:
    error = event.error
    return {
        "finish": event.reason,
        "text": event.text,
        "newTokens": len(event.token_ids),
        "error": None if error is None else _error_json(error),
    }


def _error_json(error: MiloraError) -> dict[str, Any]:
    details = {key: str(error.details[key]) for key in ("found", "hint") if error.details.get(key) is not None}
    return {"code": error.code, "message": error.message, "details": details}
