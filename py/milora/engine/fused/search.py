"""How a request goes on from logits: one row, or beams; beam search is transformers', step for step.

Shapes: R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from milora.engine.fused.request import EngineRequest, Reason
from milora.engine.fused.sampling import TokenChooser


@dataclass(frozen=True)
class Advance:
    """A step of a request.

    ``next_ids``: the token of each row that goes on. ``sources``: for each, the row that it goes on from; None: its
    own. ``new_ids``: tokens that are certain now. ``reason``: why the request has ended; None: it goes on.
    """

    next_ids: list[int]
    sources: list[int] | None
    new_ids: tuple[int, ...]
    reason: Reason | None


class Search(Protocol):
    """A request's way through its tokens."""

    num_rows: int

    def advance(self, logits_RV: Tensor, most_probable: Sequence[int]) -> Advance:
        """The step that the logits of its rows lead to; the first ones come from the prompt, as one row."""
        ...


def make_search(request: EngineRequest, vocabulary: int, device: torch.device) -> Search:
    """The search that a request asks for."""
    if request.beams > 1:
        return BeamSearch(request)
    return RowSearch(request, TokenChooser(request.sampling, request.prompt_ids, vocabulary, device))


class RowSearch:
    """One row, greedy or sampled."""

    num_rows = 1

    def __init__(self, request: EngineRequest, chooser: TokenChooser) -> None:
        self._request = request
        self._chooser = chooser
        self._num_tokens = 0

    def advance(self, logits_RV: Tensor, most_probable: Sequence[int]) -> Advance:
        """One token."""
        token = self._chooser.choose(logits_RV[0], most_probable[0])
        self._num_tokens += 1
        reason: Reason | None = None
        if token in self._request.stop_ids:
            reason = "stop"
        elif self._num_tokens == self._request.max_new_tokens:
            reason = "length"
        return Advance([token], None, (token,), reason)


@dataclass(frozen=True)
class _Beam:
    """``score``: the sum of log-probabilities; of a finished beam its mean."""

    score: float
    ids: tuple[int, ...]


class BeamSearch:
    """Beam search with length penalty 1 and transformers' default rule for stopping early."""

    def __init__(self, request: EngineRequest) -> None:
        self.num_rows = request.beams
        self._request = request
        self._running = [_Beam(0.0, ())]
        self._finished: list[_Beam] = []

    def advance(self, logits_RV: Tensor, most_probable: Sequence[int]) -> Advance:
        """One token of each beam."""
        length = len(self._running[0].ids) + 1
        candidates = self._candidates(logits_RV)
        ends = [self._ends(beam.ids[-1], length) for _, beam in candidates]
        for (_, beam), has_ended in list(zip(candidates, ends, strict=True))[: self.num_rows]:
            if has_ended:
                self._finished.append(_Beam(beam.score / length, beam.ids))
        self._finished = sorted(self._finished, key=lambda beam: -beam.score)[: self.num_rows]
        going_on = [pair for pair, has_ended in zip(candidates, ends, strict=True) if not has_ended][: self.num_rows]
        if not going_on or not self._can_improve(going_on[0][1].score / length):
            best = self._finished[0]
            return Advance([], None, best.ids, "stop" if best.ids[-1] in self._request.stop_ids else "length")
        self._running = [beam for _, beam in going_on]
        return Advance([beam.ids[-1] for beam in self._running], [source for source, _ in going_on], (), None)

    def _candidates(self, logits_RV: Tensor) -> list[tuple[int, _Beam]]:
        """The best continuations with the rows that they go on from; enough that as many beams as before go on."""
        vocabulary = logits_RV.shape[1]
        scores_R = torch.tensor([beam.score for beam in self._running], device=logits_RV.device)
        scores_RV = logits_RV.log_softmax(dim=-1) + scores_R.unsqueeze(1)
        num_kept = max(2, 1 + len(self._request.stop_ids)) * self.num_rows
        best, places = scores_RV.flatten().topk(min(num_kept, scores_RV.numel()))
        return [
            (place // vocabulary, _Beam(score, (*self._running[place // vocabulary].ids, place % vocabulary)))
            for score, place in zip(best.tolist(), places.tolist(), strict=True)
        ]

    def _ends(self, token: int, length: int) -> bool:
        return token in self._request.stop_ids or length == self._request.max_new_tokens

    def _can_improve(self, best_running: float) -> bool:
        return len(self._finished) < self.num_rows or best_running > self._finished[-1].score
