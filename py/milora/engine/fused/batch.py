"""The running rows: their cache, their plan, and how requests join and leave between steps.

Shapes: R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from milora.engine.fused.cache import KvCache
from milora.engine.fused.decoder import FusedDecoder
from milora.engine.fused.joining import JoiningPrompts
from milora.engine.fused.plan import PlanCompiler
from milora.engine.fused.projections import LayerUpdates
from milora.engine.fused.prompt_routing import RowDecision
from milora.engine.fused.running import RunningRequest
from milora.engine.fused.sites import Sites
from milora.engine.fused.stepping import DecodeStep


class RowBatch:
    """The rows that decode together: always the cache's first ones, without gaps."""

    def __init__(self, decoder: FusedDecoder, max_cells: int, step: DecodeStep | None = None) -> None:
        self._decoder = decoder
        self._step = step
        self._max_cells = max_cells
        self._compiler = PlanCompiler(decoder.parts.sites, uses_kernel=step is not None and step.has_kernel)
        self._plan: list[LayerUpdates] | None = None
        self._is_stale = True
        self.cache: KvCache = decoder.new_cache()
        self.sites: Sites = decoder.parts.sites
        self.running: list[RunningRequest] = []
        self.num_rows = 0

    @property
    def num_cache_bytes(self) -> int:
        """Memory of the KV cache."""
        return self.cache.num_bytes

    @property
    def num_cache_growths(self) -> int:
        """How often the KV cache has taken another shape."""
        return self.cache.num_growths

    def join(self, joining: Sequence[RunningRequest]) -> Tensor:
        """Computes the prompts of a batch and takes its requests in; gives one row of logits for each."""
        prompts = [one.request.prompt_ids for one in joining]
        first = self.num_rows
        num_rows = first + sum(one.search.num_rows for one in joining)
        self._fit(num_rows, max(map(len, prompts)), first)
        routing = JoiningPrompts(joining)
        updates_of = routing.updates if routing.has_adapters else None
        logits_RV = self._decoder.prefill(prompts, self.cache, first, updates_of)
        for one, decision in zip(joining, routing.decisions(), strict=True):
            one.decision = decision
        self._take_rows(joining)
        self._drop_plan()
        return logits_RV

    def decode(self) -> Tensor:
        """One token of every row; gives the next token's logits, [R, V]."""
        ids, positions = [0] * self.num_rows, [0] * self.num_rows
        for one in self.running:
            for row, token in zip(one.rows, one.next_ids, strict=True):
                ids[row], positions[row] = token, one.position
        self._fit(self.num_rows, max(positions) + 1, self.num_rows)
        if self._is_stale:
            self._plan = self._compile()
            self._is_stale = False
        decode = self._decoder.decode if self._step is None else self._step.decode
        logits_RV = decode(ids, positions, self.cache, self._plan)
        for one in self.running:
            one.position += 1
        return logits_RV

    def reorder(self, one: RunningRequest, sources: Sequence[int]) -> None:
        """Makes a request's rows go on from others of its rows; its prompt is the same in all of them."""
        pairs = [(one.rows[source], row) for source, row in zip(sources, one.rows, strict=True)]
        self._move([pair for pair in pairs if pair[0] != pair[1]], len(one.request.prompt_ids), one.position)

    def leave(self, leaving: Sequence[RunningRequest], *, spoiled: bool = False) -> None:
        """Takes requests out; rows from the end fill their places. ``spoiled``: their cache may hold NaN."""
        free = sorted(row for one in leaving for row in one.rows)
        if not free:
            return
        if spoiled:
            for row in free:
                self.cache.clear(slice(row, row + 1))
        self.running = [one for one in self.running if one not in leaving]
        self.num_rows -= len(free)
        holes = [row for row in free if row < self.num_rows]
        pairs: list[tuple[int, int]] = []
        longest = 0
        for one in self.running:
            for place, row in enumerate(one.rows):
                if row >= self.num_rows:
                    one.rows[place] = holes.pop()
                    pairs.append((row, one.rows[place]))
                    longest = max(longest, one.position)
        self._move(pairs, 0, longest)
        self._drop_plan()

    def clear(self) -> None:
        """Forgets all requests and gives the cache back."""
        self.running = []
        self.num_rows = 0
        self._drop_plan()
        self.cache.drop()

    def _drop_plan(self) -> None:
        """Plans and stacks hold adapters, which may be unloaded by now."""
        self._plan = None
        self._is_stale = True
        if self._step is not None:
            self._step.forget()
        if not self.running:
            self._compiler.clear()

    def _take_rows(self, joining: Sequence[RunningRequest]) -> None:
        copies: list[tuple[int, int]] = []
        longest = 0
        next_row = self.num_rows + len(joining)
        for index, one in enumerate(joining):
            extra = range(next_row, next_row + one.search.num_rows - 1)
            next_row = extra.stop
            one.rows = [self.num_rows + index, *extra]
            one.position = len(one.request.prompt_ids)
            copies += [(one.rows[0], row) for row in extra]
            longest = max(longest, one.position)
        self._move(copies, 0, longest)
        self.num_rows = next_row
        self.running.extend(joining)

    def _compile(self) -> list[LayerUpdates] | None:
        decisions: list[RowDecision | None] = [None] * self.num_rows
        for one in self.running:
            for row in one.rows:
                decisions[row] = one.decision
        return self._compiler.compile(decisions)

    def _move(self, pairs: Sequence[tuple[int, int]], start: int, stop: int) -> None:
        if pairs and stop > start:
            sources, targets = torch.tensor(pairs, device=self._decoder.parts.device).unbind(1)
            self.cache.move(sources, targets, start, stop)

    def _fit(self, rows: int, length: int, used: int) -> None:
        """Grows the cache where needed; what is not needed any more is given back when the budget asks for it."""
        if rows <= self.cache.rows and length <= self.cache.length:
            return
        longest = max([length, *(one.position + 1 for one in self.running)])
        wanted = (max(rows, self.cache.rows), max(longest, self.cache.length))
        if KvCache.cells(*wanted) > self._max_cells:
            wanted = (rows, longest)
        self.cache.fit(*wanted, used)
