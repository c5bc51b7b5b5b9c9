"""Prompts of several tenants in one prefill: the base's products are shared, each tenant's rows get its own adapter.

Shapes: N tokens of all rows, D hidden size, I in, O out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from milora.engine.fused.projections import GroupUpdate, LayerUpdates
from milora.engine.fused.prompt_routing import PromptRouting, RowDecision
from milora.engine.fused.running import RunningRequest
from milora.engine.packing import packed
from milora.engine.requests import routing_override


def prefill_batches(joining: Iterable[RunningRequest]) -> list[list[RunningRequest]]:
    """Requests whose prompts are computed together: few passes, little padding.

    In each batch those of one adapter lie side by side, apart from those with a decision of their own.
    """
    by_length = sorted(joining, key=_length)
    cuts = packed([_length(one) for one in by_length], len(by_length))
    return [sorted((by_length[place] for place in cut), key=_kind) for cut in cuts]


def padded_tokens(batches: Iterable[Sequence[RunningRequest]]) -> int:
    """Tokens that batches compute, padding counted."""
    return sum(len(batch) * max(map(_length, batch)) for batch in batches)


class JoiningPrompts:
    """The adapters and routing of prompts that are computed together, as :func:`prefill_batches` orders them."""

    def __init__(self, joining: Sequence[RunningRequest]) -> None:
        self._num_rows = len(joining)
        self._groups: list[tuple[slice, PromptRouting | None]] = []
        start = 0
        for _, group in itertools.groupby(joining, _kind):
            members = list(group)
            adapter, routing = members[0].adapter, None
            if adapter is not None:
                override = routing_override([one.request for one in members])
                routing = PromptRouting(adapter, [_length(one) for one in members], override)
            self._groups.append((slice(start, start + len(members)), routing))
            start += len(members)

    @property
    def has_adapters(self) -> bool:
        """Whether any prompt has one."""
        return any(routing is not None for _, routing in self._groups)

    def updates(self, index: int, hidden_ND: Tensor) -> LayerUpdates:
        """A layer's updates, each group's from its own rows."""
        tokens = hidden_ND.shape[0] // self._num_rows
        by_projection: dict[int, list[tuple[slice, GroupUpdate]]] = {}
        num_projections = 0
        for rows, routing in self._groups:
            if routing is None:
                continue
            places = slice(rows.start * tokens, rows.stop * tokens)
            updates = routing.updates(index, hidden_ND[places])
            num_projections = len(updates)
            for projection, update in enumerate(updates):
                if update is not None:
                    by_projection.setdefault(projection, []).append((places, update))
        return [
            _SlicedUpdate(tuple(by_projection[projection])) if projection in by_projection else None
            for projection in range(num_projections)
        ]

    def decisions(self) -> list[RowDecision | None]:
        """Each prompt's decision, None without an adapter; read from the device once an adapter."""
        found: list[RowDecision | None] = []
        for rows, routing in self._groups:
            found += [None] * (rows.stop - rows.start) if routing is None else routing.decisions()
        return found


@dataclass(frozen=True)
class _SlicedUpdate:
    """Updates of parts of the rows."""

    parts: tuple[tuple[slice, GroupUpdate], ...]

    @property
    def rescales(self) -> bool:
        return any(update.rescales for _, update in self.parts)

    def apply(self, inputs_NI: Tensor, output_NO: Tensor) -> Tensor:
        for places, update in self.parts:
            # In place: a part of the rows is a view.
            update.apply(inputs_NI[places], output_NO[places])
        return output_NO


def _length(one: RunningRequest) -> int:
    return len(one.request.prompt_ids)


def _kind(one: RunningRequest) -> tuple[int, bool]:
    return (0 if one.adapter is None else id(one.adapter), one.request.decision is not None)
