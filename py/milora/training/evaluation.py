"""Teacher-forced loss of rows, as sums that add up over chunks, with the routing of their prompts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from milora.data import Batch, Dataset, TokenRow, collate
from milora.errors import MiloraError
from milora.models import answer_nll, run_decoder
from milora.routing.context import RoutingContext
from milora.routing.record import RoutingRecord
from milora.training.batching import Pass, own_passes
from milora.training.ranks import ALONE, Ranks

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class RoutingCounts:
    """How often each expert came first and was chosen, [layers][experts], over ``prompts`` prompts.

    ``balance`` is None where no router decides (a fixed policy).
    """

    argmax: list[list[int]]
    chosen: list[list[int]]
    prompts: int
    balance: float | None


@dataclass(frozen=True)
class RoutedPrompts:
    """The routing of prompts, and the gates of the first ones, [prompts][layers][experts]."""

    counts: RoutingCounts
    gates: list[list[list[float]]]


@dataclass(frozen=True)
class DataLoss:
    """Summed negative log-likelihood in nats, and the answer tokens it was summed over."""

    nll: float
    answer_tokens: int
    routing: RoutingCounts | None


@torch.no_grad()
def data_loss(
    model: nn.Module,
    dataset: Dataset,
    rows: Sequence[int],
    *,
    context: RoutingContext | None,
    records: bool,
    micro_batch: int,
    pad_id: int,
    on_step: OnStep,
    ranks: Ranks = ALONE,
) -> DataLoss:
    """The loss of rows under the model's active adapter, in evaluation mode; rows without answer are left out.

    A loss that is not finite is an error, never a number: compared with others it would pass for a good one.

    Args:
        context: The routing context where the active adapter must know the prompt; None for any other.
        records: Whether the adapter routes prompts, so that there is routing to count.
        ranks: Those that share the rows; each gives the loss of all of them.

    Raises:
        MiloraError: ``training/non-finite``.
    """
    model.eval()
    with ranks.together():
        passes = own_passes(dataset.take(rows), micro_batch, ranks)
        own = _OwnLoss(RoutingSums() if records else None)
        _add_passes(own, model, passes, context, pad_id, on_step)
    parts = ranks.gathered(own)
    total = sum(part.nll for part in parts)
    if not math.isfinite(total):
        message = f"The loss of {len(rows)} rows is not finite ({total})."
        hint = "A lower learning rate, or dtype float32, may cure it."
        raise MiloraError("training/non-finite", message, found=str(total), hint=hint)
    routing = RoutingSums()
    for part in parts:
        if part.routing is not None:
            routing.merge(part.routing)
    return DataLoss(total, sum(part.answer_tokens for part in parts), routing.counts())


@dataclass
class _OwnLoss:
    """What one rank adds to the loss of data."""

    routing: RoutingSums | None
    nll: float = 0.0
    answer_tokens: int = 0


def _add_passes(
    own: _OwnLoss,
    model: nn.Module,
    passes: list[Pass],
    context: RoutingContext | None,
    pad_id: int,
    on_step: OnStep,
) -> None:
    device = next(model.parameters()).device
    # Float64 where the device has it: thousands of batches add up.
    nll = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    total, done = sum(len(group) for group, counts in passes if counts), 0
    for group, counts in passes:
        on_step(done, total)
        batch = collate(group, pad_id, device)
        if not counts:
            _batch_nll(model, batch, context, None)
            continue
        nll += _batch_nll(model, batch, context, own.routing).to(nll.dtype)
        own.answer_tokens += batch.num_answer_tokens
        done += len(group)
    on_step(total, total)
    own.nll = float(nll)


@torch.no_grad()
def prompt_routing(
    model: nn.Module,
    context: RoutingContext,
    prompts: Sequence[Sequence[int]],
    *,
    explain: int,
    micro_batch: int,
    pad_id: int,
    on_step: OnStep,
) -> RoutedPrompts:
    """What the active adapter's routers decide for prompts (token ids, one or more).

    Args:
        explain: Of how many prompts, from the first on, the gates are given too.
    """
    model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    routing = RoutingSums()
    gates: dict[int, list[list[float]]] = {}
    for start in range(0, len(order), micro_batch):
        on_step(start, len(order))
        group = order[start : start + micro_batch]
        batch = collate([TokenRow(tuple(prompts[index]), ()) for index in group], pad_id, device)
        with context.prompt(batch.prompt_mask), context.record() as record:
            run_decoder(model, batch)
        routing.add(record)
        gates |= {index: record.gates[row].tolist() for row, index in enumerate(group) if index < explain}
    on_step(len(order), len(order))
    counts = routing.counts()
    assert counts is not None
    return RoutedPrompts(counts, [gates[index] for index in sorted(gates)])


def _batch_nll(model: nn.Module, batch: Batch, context: RoutingContext | None, routing: RoutingSums | None) -> Tensor:
    with contextlib.ExitStack() as stack:
        record = None
        if context is not None:
            stack.enter_context(context.prompt(batch.prompt_mask))
            record = stack.enter_context(context.record()) if routing is not None else None
        nll = answer_nll(model, batch)
    if routing is not None and record is not None:
        routing.add(record)
    return nll


@dataclass
class RoutingSums:
    """Adds up the routing of batches; the balance loss is that of all their prompts at once."""

    first: Tensor | None = None
    chosen: Tensor | None = None
    probabilities: list[Tensor] = field(default_factory=list)
    prompts: int = 0

    def add(self, record: RoutingRecord) -> None:
        """Adds a batch's record."""
        sums = [layer.sum(dim=0).cpu().double() for layer in record.probabilities]
        self._add(record.first_choice_counts().cpu(), record.chosen_counts().cpu(), sums, record.num_prompts)

    def merge(self, other: RoutingSums) -> None:
        """Adds another's sums."""
        if other.first is not None and other.chosen is not None:
            self._add(other.first, other.chosen, other.probabilities, other.prompts)

    def _add(self, first: Tensor, chosen: Tensor, probabilities: list[Tensor], prompts: int) -> None:
        self.first = first if self.first is None else self.first + first
        self.chosen = chosen if self.chosen is None else self.chosen + chosen
        before = self.probabilities or [torch.zeros_like(layer) for layer in probabilities]
        self.probabilities = [a + b for a, b in zip(before, probabilities, strict=True)]
        self.prompts += prompts

    def counts(self) -> RoutingCounts | None:
        """The counts of all batches; None before the first."""
        if self.first is None or self.chosen is None:
            return None
        argmax, chosen = self.first.tolist(), self.chosen.tolist()
        # The balance loss of all prompts at once: f and p̂ over the whole set, not a mean of batches.
        losses = [
            len(sums) * sum(f / self.prompts * p / self.prompts for f, p in zip(first, sums.tolist(), strict=False))
            # Where no router was asked there are no probabilities, and nothing to balance.
            for first, sums in zip(argmax if self.probabilities else [], self.probabilities, strict=True)
        ]
        balance = sum(losses) / len(losses) if losses else None
        return RoutingCounts(argmax, chosen, self.prompts, balance)
