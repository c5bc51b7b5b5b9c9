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
from milora.engine.fused.request import EngineRequest
from milora.engine.fused.resident import ROUTER_KEY, ResidentAdapter
from milora.engine.fused.search import Search
from milora.engine.fused.sites import Sites
from milora.engine.fused.text_stream import TextStream
from milora.errors import MiloraError
from milora.routing.override import RoutingOverride, make_override


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


class Batch(Protocol):
    """Requests that run together, a row of logits for each of their rows at each step."""

    sites: Sites
    running: list[RunningRequest]
    num_rows: int

    @property
    def num_plans(self) -> int:
        """Plans compiled so far."""
        ...

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


def routing_override(requests: Sequence[EngineRequest]) -> RoutingOverride | None:
    """The routers' override for prompts; either all of them or none bring a kept decision."""
    decisions = [request.decision for request in requests if request.decision is not None]
    if decisions:
        return make_override(None, None, torch.stack(decisions))
    top_k = [request.top_k for request in requests]
    allowed = [request.allowed for request in requests]
    if all(request.top_k is None and request.allowed is None for request in requests):
        return None
    return make_override(
        top_k if any(k is not None for k in top_k) else None,
        allowed if any(names is not None for names in allowed) else None,
        None,
    )


def check_override(request: EngineRequest, adapter: ResidentAdapter | None) -> None:
    """Lets the first router see what is asked of it.

    Raises:
        MiloraError: ``adapter/unsupported``.
    """
    if not request.overrides:
        return
    router = None if adapter is None else next(adapter.routers, None)
    if router is None:
        raise MiloraError(
            "adapter/unsupported",
            f"The request changes a routing decision, but {request.adapter or 'the base model'} has no routers.",
            path="request",
        )
    settings = router.milora_prompt_settings[ROUTER_KEY]
    override = routing_override([request])
    assert override is not None
    probabilities = torch.zeros(1, len(settings.place.experts))
    override.gates(settings.place, 1, probabilities.device)
    override.limits(settings.place, settings.top_k, probabilities)
