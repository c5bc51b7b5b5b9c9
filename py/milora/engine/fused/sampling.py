"""The next token of one row: the most probable one, or a drawn one.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from milora.engine.fused.request import Sampling


class TokenChooser:
    """Chooses a request's tokens; it has a generator of its own, so that nothing else moves its draws."""

    def __init__(self, sampling: Sampling, prompt_ids: Sequence[int], vocabulary: int, device: torch.device) -> None:
        self._sampling = sampling
        self._generator = torch.Generator(device).manual_seed(sampling.seed) if sampling.temperature > 0 else None
        self._seen: Tensor | None = None
        if sampling.repetition_penalty != 1:
            self._seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)
            self._seen[torch.tensor(prompt_ids, device=device)] = True

    def choose(self, logits_V: Tensor, most_probable: int) -> int:
        """The token for some logits, of which ``most_probable`` is the largest."""
        if self._seen is not None:
            penalty = self._sampling.repetition_penalty
            penalised_V = torch.where(logits_V < 0, logits_V * penalty, logits_V / penalty)
            # Were every token infinitely improbable, none could be drawn.
            penalised_V = penalised_V.clamp(min=torch.finfo(logits_V.dtype).min)
            logits_V = torch.where(self._seen, penalised_V, logits_V)
            if self._generator is None:
                most_probable = int(logits_V.argmax())
        token = most_probable if self._generator is None else self._draw(logits_V)
        if self._seen is not None:
            self._seen[token] = True
        return token

    def _draw(self, logits_V: Tensor) -> int:
        sampling = self._sampling
        # Less the largest: a tiny temperature sends all others to -inf and leaves that one at 0.
        scores_V = (logits_V - logits_V.max()) / max(sampling.temperature, torch.finfo(logits_V.dtype).tiny)
        if 0 < sampling.top_k < scores_V.shape[0]:
            scores_V = scores_V.masked_fill(scores_V < scores_V.topk(sampling.top_k).values[-1], float("-inf"))
        if sampling.top_p < 1:
            ascending_V, order_V = scores_V.sort()
            drops_V = ascending_V.softmax(dim=-1).cumsum(dim=-1) <= 1 - sampling.top_p
            drops_V[-1] = False
            scores_V = scores_V.masked_fill(torch.zeros_like(drops_V).scatter(0, order_V, drops_V), float("-inf"))
        return int(torch.multinomial(scores_V.softmax(dim=-1), 1, generator=self._generator))
