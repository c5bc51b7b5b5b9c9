"""What routers decided for a prompt: told to the caller, or kept by name, such as for the next turn of a chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor

from milora.errors import MiloraError
from milora.routing.decision import stack_experts

Gates = Sequence[Sequence[float] | None]
"""A prompt's gates by decoder layer, None where nothing is adapted."""


@dataclass(frozen=True)
class Routing:
    """Per adapted layer the chosen experts' indices, most probable first, and their gates."""

    experts: tuple[tuple[int, ...], ...]
    gates: tuple[tuple[float, ...], ...]


def read_routing(layers: Sequence[Sequence[float]]) -> Routing:
    """The routing that a prompt's gates, [layers, experts], say."""
    chosen = [
        sorted((expert for expert, gate in enumerate(row) if gate > 0), key=lambda expert: -row[expert])
        for row in layers
    ]
    gates = (tuple(row[expert] for expert in experts) for row, experts in zip(layers, chosen, strict=True))
    return Routing(tuple(map(tuple, chosen)), tuple(gates))


def decision_of(gates: Gates) -> Tensor:
    """A prompt's gates as a decision to keep: [adapted layers, experts], filled up with zeros."""
    return stack_experts([torch.tensor(list(row)) for row in gates if row is not None])


def routing_of(gates: Gates) -> Routing:
    """The routing of a prompt's adapted layers."""
    return read_routing([row for row in gates if row is not None])


class KeptDecisions:
    """Decisions by name, each with the adapter it was made by."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, Tensor]] = {}

    def keep(self, name: str, adapter: str, gates_LE: Tensor) -> None:
        """Keeps a prompt's gates, [layers, experts]; a name that is taken gets the new ones."""
        self._kept[name] = (adapter, gates_LE.detach().cpu().clone())

    def get(self, name: str, adapter: str | None) -> Tensor:
        """A kept decision, [layers, experts].

        Raises:
            MiloraError: ``input/unknown-name``, or ``adapter/mismatch`` for a decision of another adapter.
        """
        if name not in self._kept:
            close = get_close_matches(name, self._kept, n=1)
            known = ", ".join(self._kept) or "none"
            hint = f"Did you mean {close[0]!r}?" if close else "Keep one with keepDecisionAs first."
            message = f"There is no decision {name!r}; kept: {known}. {hint}"
            raise MiloraError("input/unknown-name", message, path="requests", found=name, allowed=known, hint=hint)
        made_by, gates = self._kept[name]
        if made_by != adapter:
            message = f"The decision {name!r} was made by another adapter than the request's; use it with its own."
            raise MiloraError("adapter/mismatch", message, found=name)
        return gates

    def forget(self, adapter: str) -> None:
        """Drops the decisions of an adapter."""
        self._kept = {name: kept for name, kept in self._kept.items() if kept[0] != adapter}
