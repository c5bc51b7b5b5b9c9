"""The loss of a whole step and its gradients, whatever the micro-batches and the ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from milora.data import Batch, TokenRow, collate
from milora.models import answer_nll, run_decoder
from milora.routing.context import routing_context
from milora.training.batching import Pass, StepRows
from milora.training.ranks import Ranks
from milora.tuners.base import config_of
from milora.tuners.methods import hooks_of

Scaled = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class StepSums:
    """Over all rows of a step: summed nats of the answer tokens, and the balance loss; None without routers."""

    nll: Tensor
    balance: Tensor | None


class StepLoss:
    """Σ token losses / Σ answer tokens, plus the weighted balance loss of all that was routed.

    The balance loss is a product of two means over the step: f, which has no gradient, is counted over all ranks
    first; then each micro-batch's part of p̂ has its gradient, and these add up.

    Args:
        model: The model with the adapter active.
        adapter: The adapter's name.
        balance: The weight of the balance loss.
        pad_id: Fills rows at the right.
        ranks: Those that share the step.
    """

    def __init__(self, model: nn.Module, adapter: str, balance: float, pad_id: int, ranks: Ranks) -> None:
        self._model = model
        self._balance = balance
        self._pad_id = pad_id
        self._ranks = ranks
        self._device = next(model.parameters()).device
        hooks, config = hooks_of(model, adapter), config_of(model, adapter)
        self._routed_unit = hooks.routed_unit(config)
        needs_context = self._routed_unit is not None or hooks.reads_prompt(config)
        self._context = routing_context(model) if needs_context else None

    def backward(
        self, step: StepRows, trained: Sequence[nn.Parameter], scaled: Scaled, extra: Callable[[], Tensor | None]
    ) -> StepSums:
        """Leaves the step's gradients on ``trained``, the same on every rank.

        Args:
            step: Its rows; at least one on some rank.
            trained: Parameters that get gradients.
            scaled: Scales a loss before its backward pass.
            extra: A term of the parameters alone, or None.
        """
        share = self._first_choice_share(step)
        with self._ranks.together():
            nll, balance = self._backward_own(step, share, scaled)
            # The term knows no rows: it is counted once.
            if self._ranks.index == 0 and (term := extra()) is not None:
                scaled(term).backward()
        if self._ranks.count > 1:
            for parameter in trained:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
            self._ranks.add_up([*gradients, nll, balance])
        return StepSums(nll, None if self._routed_unit is None else balance)

    def _backward_own(self, step: StepRows, share: Tensor | None, scaled: Scaled) -> tuple[Tensor, Tensor]:
        """Gradients and sums of this rank's micro-batches."""
        nll: list[Tensor] = []
        balance: list[Tensor] = []
        for group, counts in step.passes:
            batch = collate(group, self._pad_id, self._device)
            batch_nll, batch_balance = self._losses(batch, share, self._num_routed(step))
            loss = batch_nll / step.answer_tokens
            if batch_balance is not None and self._balance > 0:
                loss = loss + self._balance * batch_balance
            if not counts:
                # The ranks take part in each other's backward pass too.
                (loss * 0).backward()
                continue
            scaled(loss).backward()
            nll.append(batch_nll.detach())
            if batch_balance is not None:
                balance.append(batch_balance.detach())
        return self._sum(nll), self._sum(balance)

    def _sum(self, parts: list[Tensor]) -> Tensor:
        return torch.stack(parts).sum() if parts else torch.zeros((), device=self._device)

    def _num_routed(self, step: StepRows) -> int:
        return step.tokens if self._routed_unit == "token" else step.rows

    def _losses(self, batch: Batch, share: Tensor | None, num_routed: int) -> tuple[Tensor, Tensor | None]:
        if self._context is None:
            return answer_nll(self._model, batch), None
        with self._context.prompt(self._routed_tokens(batch)), self._context.record() as record:
            nll = answer_nll(self._model, batch)
        return nll, record.balance_loss(share, num_routed) if self._routed_unit is not None else None

    def _routed_tokens(self, batch: Batch) -> Tensor:
        """What routers look at, [rows, tokens]: the prompts, or with a decision a token all that is no padding."""
        return batch.attention_mask != 0 if self._routed_unit == "token" else batch.prompt_mask

    def _first_choice_share(self, step: StepRows) -> Tensor | None:
        """f over the whole step, [layers, experts], from a pass over the prompts (routed by token: the rows) alone.

        Each micro-batch's balance loss needs the step's f before any gradient is made; a step that is one micro-batch
        counts it on the way. Dropout is off here: f has no gradient and is better without noise.
        """
        if self._routed_unit is None or (self._ranks.count == 1 and len(step.passes) == 1):
            return None
        with self._ranks.together():
            counts = self._first_choice_counts(step)
        self._ranks.add_up([counts])
        return counts / self._num_routed(step)

    @torch.no_grad()
    def _first_choice_counts(self, step: StepRows) -> Tensor:
        """This rank's counts; one without rows looks at one of another's for the shape."""
        assert self._context is not None and step.first is not None
        self._model.eval()
        counts: list[Tensor] = []
        for group, counted in step.passes or [Pass([step.first], counts=False)]:
            by_prompt = self._routed_unit == "prompt"
            routed = [TokenRow(row.prompt_ids, ()) for row in group] if by_prompt else group
            batch = collate(routed, self._pad_id, self._device)
            with self._context.prompt(self._routed_tokens(batch)), self._context.record() as record:
                run_decoder(self._model, batch)
            found = record.first_choice_counts()
            counts.append(found if counted else torch.zeros_like(found))
        self._model.train()
        return torch.stack(counts).sum(dim=0)
