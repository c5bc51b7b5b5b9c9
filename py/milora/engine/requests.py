"""A request for a text, and what it changes of its adapter's routing.

Shapes: L adapted layers, E experts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from milora.data import Prompt
from milora.errors import MiloraError
from milora.routing.context import RoutingContext
from milora.routing.override import RoutingOverride, make_override
from milora.tuners.milora import PEFT_TYPE_NAME


@dataclass(frozen=True, kw_only=True)
class RoutingChange:
    """What a request changes of its adapter's routing.

    ``top_k`` lowers the adapter's k, ``allowed`` names the experts that may be active, ``decision`` is a kept decision
    (gates, [layers, experts]) to use instead of the router. ``keeps_decision`` asks for this prompt's own decision.
    """

    top_k: int | None = None
    allowed: tuple[str, ...] | None = None
    decision: Tensor | None = None
    keeps_decision: bool = False

    @property
    def overrides(self) -> bool:
        """Whether the router's own rule is changed."""
        return self.top_k is not None or self.allowed is not None or self.decision is not None


@dataclass(frozen=True)
class GenerationRequest(RoutingChange):
    """A prompt for an adapter; None: the base model."""

    prompt: Prompt
    adapter: str | None = None


def check_routing(change: RoutingChange, path: str, adapter: str | None, config: dict[str, Any]) -> None:
    """Refuses what an adapter's routers cannot do; ``path``: the request's, for the message.

    Raises:
        MiloraError: ``adapter/unsupported`` for the base model, a LoRA adapter and a fixed policy; those of
            :func:`check_change`.
    """
    if not (change.overrides or change.keeps_decision):
        return
    if not has_routers(config):
        raise MiloraError(
            "adapter/unsupported",
            f"{path} changes or keeps a routing decision, but {_unrouted(adapter, config)}.",
            path=path,
            hint="topK, masked, decision and keepDecisionAs belong to a MiLoRA adapter with a learned policy.",
        )
    check_change(change, path, str(adapter), config["top_k"])


def check_change(change: RoutingChange, path: str, adapter: str, top_k: int) -> None:
    """Refuses what contradicts itself or a routed adapter's k; ``path``: the request's, for the message.

    Raises:
        MiloraError: ``input/invalid-spec`` for a k above ``top_k``, the adapter's own, and for a kept decision with a
            k or masked experts.
    """
    if change.decision is not None and (change.top_k is not None or change.allowed is not None):
        raise MiloraError(
            "input/invalid-spec",
            f"{path} has a kept decision, which is used as it is, and topK or masked.",
            path=f"{path}.decision",
            hint="Leave topK and masked out, or the decision.",
        )
    if change.top_k is not None and change.top_k > top_k:
        raise MiloraError(
            "input/invalid-spec",
            f"{path}.topK is {change.top_k}; adapter {adapter!r} was trained with {top_k} active experts, and k may "
            "only be lowered.",
            path=f"{path}.topK",
            found=str(change.top_k),
            allowed=f"1 to {top_k}",
        )


def names_experts(config: dict[str, Any]) -> bool:
    """Whether an adapter's config names experts, some of which routers or a fixed policy choose."""
    return config.get("peft_type") == PEFT_TYPE_NAME


def has_routers(config: dict[str, Any]) -> bool:
    """Whether an adapter's config says that routers decide."""
    return names_experts(config) and config.get("policy") == "learned"


def _unrouted(adapter: str | None, config: dict[str, Any]) -> str:
    if adapter is None:
        return "the base model has no routers"
    kind = "a fixed policy" if names_experts(config) else f"the type {config.get('peft_type')}"
    return f"its adapter {adapter!r} has {kind} and has no routers"


def routing_override(changes: Sequence[RoutingChange]) -> RoutingOverride | None:
    """The routers' override for prompts, None without one; either all of them or none bring a kept decision."""
    if not any(change.overrides for change in changes):
        return None
    return make_override(**_override_values(changes))


def request_override(
    routing: RoutingContext | None, requests: Sequence[GenerationRequest]
) -> contextlib.AbstractContextManager[None]:
    """The routers' override for a batch; kept decisions share no batch with other requests."""
    if routing is None or not any(request.overrides for request in requests):
        return contextlib.nullcontext()
    return routing.override(**_override_values(requests))


def _override_values(changes: Sequence[RoutingChange]) -> dict[str, Any]:
    top_k = [change.top_k for change in changes]
    allowed = [change.allowed for change in changes]
    decisions = [change.decision for change in changes if change.decision is not None]
    return {
        "top_k": top_k if any(k is not None for k in top_k) else None,
        "allowed": allowed if any(names is not None for names in allowed) else None,
        "decision": torch.stack(decisions) if decisions else None,
    }
