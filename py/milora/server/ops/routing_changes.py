"""What a request's JSON says about its routing, and what is told of a routing, whichever operation it is for."""

from __future__ import annotations

from typing import Any

from milora.engine import KeptDecisions, Routing, RoutingChange
from milora.engine.requests import names_experts
from milora.errors import MiloraError


def read_change(asked: dict[str, Any], path: str, config: dict[str, Any], decisions: KeptDecisions) -> RoutingChange:
    """What a request changes of the routing of its adapter.

    Args:
        asked: The request's JSON.
        path: Where it stands, for messages.
        config: The fields of its adapter's ``adapter_config.json``; empty for the base model.
        decisions: Those that are kept.

    Raises:
        MiloraError: ``input/unknown-name`` for an expert or a decision that is not there, ``adapter/mismatch`` for a
            decision of another adapter.
    """
    name = asked["decision"]
    return RoutingChange(
        top_k=asked["topK"],
        allowed=_allowed(asked["masked"], path, config),
        decision=None if name is None else decisions.get(name, asked["adapter"]),
        keeps_decision=asked["keepDecisionAs"] is not None,
    )


def expert_names(config: dict[str, Any]) -> list[list[str]]:
    """Names of a routed adapter's experts, layer by layer, in the order of the router's outputs."""
    return [[expert["name"] for expert in layer["experts"]] for layer in config["layers"]]


def routing_json(routing: Routing, config: dict[str, Any]) -> dict[str, Any]:
    """A prompt's experts, by name, and gates."""
    names = expert_names(config)
    experts = [[layer[index] for index in chosen] for layer, chosen in zip(names, routing.experts, strict=True)]
    return {"experts": experts, "gates": [list(gates) for gates in routing.gates]}


def _allowed(masked: list[str], path: str, config: dict[str, Any]) -> tuple[str, ...] | None:
    """The experts that are left when the masked ones are taken away."""
    if not masked:
        return None
    known = (
        list(dict.fromkeys(name for layer in expert_names(config) for name in layer)) if names_experts(config) else []
    )
    unknown = [name for name in masked if name not in known]
    if unknown and known:
        allowed = ", ".join(known)
        message = f"{path}.masked: unknown expert {unknown[0]!r}; the adapter has {allowed}."
        raise MiloraError("input/unknown-name", message, path=f"{path}.masked", found=unknown[0], allowed=allowed)
    return tuple(name for name in known if name not in masked)
