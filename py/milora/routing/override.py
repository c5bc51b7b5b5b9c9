"""What a caller sets in place of a router's own rule: a lower k, masked experts, or a decision kept from earlier.

Shapes: P prompts, B rows of a forward pass (a prompt's beams side by side), L adapted layers, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from milora.errors import MiloraError
from milora.routing.gates import GateLimits

NamesByRow = Sequence[Sequence[str] | None]


@dataclass(frozen=True)
class RouterPlace:
    """Where a router stands in its adapter, for errors and to find its part of a decision.

    ``position``: its layer's place among the adapter's layers, in their order in the model; ``most_experts``: those of
    the adapter's widest layer; ``known``: the experts' names in any layer.
    """

    adapter: str
    position: int
    num_layers: int
    experts: tuple[str, ...]
    most_experts: int
    known: frozenset[str]


@dataclass
class RoutingOverride:
    """One override, checked; see :meth:`milora.routing.context.RoutingContext.override`."""

    top_k: Tensor | None
    most_k: int
    allowed: Tensor | NamesByRow | None
    decision: Tensor | None
    _made: dict[tuple[str, int, int, torch.device], Tensor] = field(default_factory=dict)

    def limits(self, place: RouterPlace, top_k: int, like_BE: Tensor) -> GateLimits | None:
        """The limits of a router for the rows of a forward pass; None where there are none.

        Raises:
            MiloraError: ``adapter/unsupported`` for a k above the router's, an unknown expert, a wrong shape.
        """
        if self.top_k is None and self.allowed is None:
            return None
        if self.most_k > top_k:
            raise _unsupported(
                f"top_k asks for {self.most_k} experts; adapter {place.adapter!r} was trained with {top_k}. "
                "k may be lowered only."
            )
        top_k_B = None if self.top_k is None else self._rows("top_k", self.top_k, like_BE)
        allowed_BE = None
        if self.allowed is not None:
            allowed_BE = self._rows("allowed", self._allowed(place), like_BE)
        return GateLimits(top_k_B, allowed_BE)

    def gates(self, place: RouterPlace, rows: int, device: torch.device) -> Tensor | None:
        """A layer's part of the given decision, [B, E]; None without one. The same tensor at each call.

        Raises:
            MiloraError: ``adapter/unsupported`` where the decision is not one of this adapter.
        """
        if self.decision is None:
            return None
        key = (place.adapter, place.position, rows, device)
        if key not in self._made:
            expected = (place.num_layers, place.most_experts)
            if self.decision.dim() != 3 or tuple(self.decision.shape[1:]) != expected:
                raise _unsupported(
                    f"The decision has shape {list(self.decision.shape)}; adapter {place.adapter!r} needs [rows, "
                    f"{expected[0]} layers, {expected[1]} experts], as context.record() gives them in .gates."
                )
            gates_PE = self.decision[:, place.position, : len(place.experts)].to(device)
            self._made[key] = _expand("decision", gates_PE, rows)
        return self._made[key]

    def _allowed(self, place: RouterPlace) -> Tensor:
        if isinstance(self.allowed, Tensor):
            if self.allowed.dim() != 2 or self.allowed.shape[1] != place.most_experts:
                raise _unsupported(
                    f"The mask of allowed experts has shape {list(self.allowed.shape)}; adapter {place.adapter!r} "
                    f"needs [rows, {place.most_experts} experts]."
                )
            return self.allowed[:, : len(place.experts)]
        assert self.allowed is not None
        named = {name for names in self.allowed if names is not None for name in names}
        if unknown := sorted(named - place.known):
            raise _unsupported(
                f"allowed names {', '.join(map(repr, unknown))}; adapter {place.adapter!r} has the experts "
                f"{', '.join(sorted(place.known))}."
            )
        return torch.tensor([[names is None or name in names for name in place.experts] for names in self.allowed])

    def _rows(self, what: str, values: Tensor, like_BE: Tensor) -> Tensor:
        return _expand(what, values.to(like_BE.device), like_BE.shape[0])


def make_override(
    top_k: Tensor | Sequence[int | None] | None, allowed: Tensor | NamesByRow | None, decision: Tensor | None
) -> RoutingOverride:
    """Checks what can be checked before a router is asked.

    Raises:
        MiloraError: ``adapter/unsupported``.
    """
    if decision is not None and (top_k is not None or allowed is not None):
        raise _unsupported("A kept decision is used as it is; give it without top_k and allowed.")
    if isinstance(allowed, Tensor) and allowed.dtype != torch.bool:
        raise _unsupported(f"The mask of allowed experts is {allowed.dtype}; it must be booleans, [rows, experts].")
    if isinstance(allowed, str) or (allowed is not None and any(isinstance(names, str) for names in allowed)):
        raise _unsupported("allowed must hold a list of names (or None: all) for each row.")
    counts, most_k = _counts(top_k)
    return RoutingOverride(counts, most_k, allowed, None if decision is None else decision.detach())


def _counts(top_k: Tensor | Sequence[int | None] | None) -> tuple[Tensor | None, int]:
    """k of each row, and the largest that was asked for (0: none)."""
    if top_k is None:
        return None, 0
    given = top_k.tolist() if isinstance(top_k, Tensor) else list(top_k)
    wrong = [k for k in given if k is not None and (not isinstance(k, int) or isinstance(k, bool) or k < 1)]
    if wrong or not given:
        raise _unsupported(f"top_k is {given}; it must hold a whole number of at least 1 (or None) for each row.")
    unlimited = torch.iinfo(torch.int64).max
    counts = torch.tensor([unlimited if k is None else k for k in given])
    return counts, max((k for k in given if k is not None), default=0)


def _expand(what: str, values: Tensor, rows: int) -> Tensor:
    if values.shape[0] == 0 or rows % values.shape[0] != 0:
        raise _unsupported(f"{what} is given for {values.shape[0]} rows; the forward pass has {rows}.")
    return values.repeat_interleave(rows // values.shape[0], dim=0)


def _unsupported(message: str) -> MiloraError:
    return MiloraError("adapter/unsupported", message)
