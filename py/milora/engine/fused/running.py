"""A request from its admission to its end, and what runs requests together.

Shapes: R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from milora.engine.fused.prompt_routing import RowDecision
from milora.engine.fused.request import EngineRequest, FinishedEvent, Reason
from milora.engine.fused.resident import ROUTER_KEY, ResidentAdapter
from milora.engine.fused.search import Search
from milora.engine.fused.sites import Sites
from milora.engine.fused.text_stream import TextStream
from milora.engine.fused.timing import RequestClock
from milora.engine.requests import check_change, routing_override
from milora.errors import MiloraError


@dataclass(eq=False)
class RunningRequest:
    """A request from its admission to its end; it holds its version of the adapter.

    ``rows``: its rows of the batch. ``position``: where its rows' next tokens stand. ``next_ids``: those tokens.
    """

    number: int
    request: EngineRequest
    adapter: ResidentAdapter | None
    search: Search
    text: TextStream
    rows: list[int] = field(default_factory=list)
    position: int = 0
    next_ids: list[int] = field(default_factory=list)
    generated: list[int] = field(default_factory=list)
    decision: RowDecision | None = None
    clock: RequestClock = field(default_factory=RequestClock)


class Batch(Protocol):
    """Requests that run together, a row of logits for each of their rows at each step."""

    sites: Sites
    running: list[RunningRequest]
    num_rows: int

    @property
    def num_cache_bytes(self) -> int:
        """Memory of the KV cache."""
        ...

    @property
    def num_cache_growths(self) -> int:
        """How often the KV cache has taken another shape."""
        ...

    def join(self, joining: Sequence[RunningRequest]) -> Tensor:
        """Computes prompts that belong together and takes their requests in; gives one row of logits for each."""
        ...

    def decode(self) -> Tensor:
        """One token of every row; gives the next token's logits, [R, V]."""
        ...

    def reorder(self, one: RunningRequest, sources: Sequence[int]) -> None:
        """Makes a request's rows go on from others of its rows."""
        ...

    def leave(self, leaving: Sequence[RunningRequest], *, spoiled: bool = False) -> None:
        """Takes requests out; ``spoiled``: what they leave behind may hold NaN."""
        ...

    def clear(self) -> None:
        """Forgets all requests and what is kept for them, whatever state a failed step has left it in."""
        ...


def check_override(request: EngineRequest, adapter: ResidentAdapter | None) -> None:
    """Lets the first router see what is asked of it.

    Raises:
        MiloraError: ``adapter/unsupported`` for an adapter without routers, an unknown expert and a decision of
            another shape; those of :func:`milora.engine.requests.check_change`.
    """
    if not request.overrides:
        return
    router = None if adapter is None else next(adapter.routers, None)
    if adapter is None or router is None:
        raise MiloraError(
            "adapter/unsupported",
            f"The request changes a routing decision, but {request.adapter or 'the base model'} has no routers.",
            path="request",
        )
    settings = router.milora_prompt_settings[ROUTER_KEY]
    check_change(request, "request", adapter.name, settings.top_k)
    override = routing_override([request])
    assert override is not None
    probabilities = torch.zeros(1, len(settings.place.experts))
    override.gates(settings.place, 1, probabilities.device)
    override.limits(settings.place, settings.top_k, probabilities)


def finished(one: RunningRequest, reason: Reason, error: MiloraError | None = None) -> FinishedEvent:
    """A request's end, with what it has come to."""
    gates = None if one.decision is None else one.decision.gates
    return FinishedEvent(one.number, reason, tuple(one.generated), one.text.text, one.clock.timing(), error, gates)


def non_finite(one: RunningRequest) -> MiloraError:
    """Why a request with logits that are not finite ends."""
    name = "the base model" if one.adapter is None else f"adapter {one.adapter.name!r}"
    return MiloraError(
        "training/non-finite",
        f"The logits of request {one.number} are not finite: {name} or its dtype overflows.",
        found=one.adapter.name if one.adapter is not None else None,
        hint="Try dtype float32, or another adapter.",
    )
