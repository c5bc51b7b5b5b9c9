"""The JSON of the engine's requests and of what happens to them, their routing included."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from milora.data import TextEncoder
from milora.engine import KeptDecisions, check_routing
from milora.engine.decisions import decision_of, routing_of
from milora.engine.fused import EngineEvent, EngineRequest, FinishedEvent, RequestTiming, Sampling, TokenEvent
from milora.engine.requests import names_experts
from milora.errors import MiloraError
from milora.server.ops.routing_changes import read_change, routing_json


@dataclass(frozen=True)
class _Wanted:
    """What a request under way wants of its decision; ``config``: of its version of the adapter."""

    adapter: str
    config: dict[str, Any]
    explains: bool
    keeps_as: str | None


class EngineTexts:
    """The texts of one engine: what is asked, what is told, and the decisions that are kept of them."""

    def __init__(self, encoder: TextEncoder, decisions: KeptDecisions) -> None:
        self._encoder = encoder
        self._decisions = decisions
        self._configs: dict[str, dict[str, Any]] = {}
        self._wanted: dict[int, _Wanted] = {}

    def loaded(self, adapter: str, config: dict[str, Any]) -> None:
        """Notes an adapter of the engine; one that had the name before is gone."""
        if adapter in self._configs:
            self.unloaded(adapter)
        self._configs[adapter] = config

    def unloaded(self, adapter: str) -> None:
        """Forgets an adapter and its decisions; texts under way with it keep none any more."""
        self._configs.pop(adapter, None)
        self._decisions.forget(adapter)
        for number, wanted in self._wanted.items():
            if wanted.adapter == adapter:
                self._wanted[number] = replace(wanted, keeps_as=None)

    def request(self, payload: dict[str, Any], prompt_ids: list[int]) -> EngineRequest:
        """The request that a payload describes.

        Raises:
            MiloraError: those of :func:`milora.server.ops.routing_changes.read_change` and
                :func:`milora.engine.check_routing`.
        """
        adapter = payload["adapter"]
        # Of an adapter that is not there the engine tells.
        config = self._configs.get(adapter, {})
        change = read_change(payload, "request", config, self._decisions)
        if adapter is None or config:
            check_routing(change, "request", adapter, config)
        sampling = payload["sampling"]
        return EngineRequest(
            prompt_ids=tuple(prompt_ids),
            adapter=adapter,
            max_new_tokens=payload["maxNewTokens"],
            stop_ids=frozenset(self._encoder.stop_ids),
            stop_strings=tuple(payload["stop"]),
            sampling=Sampling(
                temperature=sampling["temperature"],
                top_k=sampling["topK"],
                top_p=sampling["topP"],
                repetition_penalty=sampling["repetitionPenalty"],
                seed=sampling["seed"],
            ),
            beams=payload["beams"],
            **vars(change),
        )

    def submitted(self, number: int, payload: dict[str, Any]) -> None:
        """Notes what a request wants of its decision."""
        adapter = payload["adapter"]
        if adapter is not None and (payload["explain"] or payload["keepDecisionAs"] is not None):
            config = self._configs[adapter]
            explains = payload["explain"] and names_experts(config)
            self._wanted[number] = _Wanted(adapter, config, explains, payload["keepDecisionAs"])

    def events(self, events: list[EngineEvent]) -> list[dict[str, Any]]:
        """One entry a request, in the order of their first events; decisions of whole texts are kept."""
        entries: dict[int, dict[str, Any]] = {}
        for event in events:
            fresh = {"request": event.request, "text": "", "newTokens": 0, "end": None}
            entry = entries.setdefault(event.request, fresh)
            if isinstance(event, TokenEvent):
                entry["text"] += event.text
                entry["newTokens"] += len(event.token_ids)
            else:
                entry["end"] = {**_end_json(event), "routing": self._settle(event)}
        return list(entries.values())

    def all_ended(self) -> None:
        """Forgets all requests, which have ended without an event."""
        self._wanted.clear()

    def close(self, elsewhere: Collection[str]) -> None:
        """Forgets the decisions of adapters that only the engine had; ``elsewhere``: the names of the others."""
        for adapter in self._configs.keys() - set(elsewhere):
            self._decisions.forget(adapter)

    def _settle(self, event: FinishedEvent) -> dict[str, Any] | None:
        wanted = self._wanted.pop(event.request, None)
        if wanted is None or event.gates is None:
            return None
        if wanted.keeps_as is not None and event.reason in ("stop", "length"):
            self._decisions.keep(wanted.keeps_as, wanted.adapter, decision_of(event.gates))
        return routing_json(routing_of(event.gates), wanted.config) if wanted.explains else None


def _end_json(event: FinishedEvent) -> dict[str, Any]:
    error = event.error
    return {
        "finish": event.reason,
        "text": event.text,
        "newTokens": len(event.token_ids),
        "error": None if error is None else _error_json(error),
        "seconds": _seconds_json(event.timing),
    }


def _seconds_json(timing: RequestTiming) -> dict[str, float] | None:
    if timing.queued is None or timing.prefill is None or timing.first_token is None:
        return None
    return {"queued": timing.queued, "prefill": timing.prefill, "firstToken": timing.first_token}


def _error_json(error: MiloraError) -> dict[str, Any]:
    details = {key: str(error.details[key]) for key in ("found", "hint") if error.details.get(key) is not None}
    return {"code": error.code, "message": error.message, "details": details}
