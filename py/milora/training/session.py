"""Training steps on an adapter: two groups of parameters, one loss over a whole step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from milora.data import Batch, Dataset, TokenRow, collate
from milora.errors import MiloraError
from milora.models import answer_logits, run_decoder, seed_everything
from milora.routing.context import RoutingContext, routing_context
from milora.training.batching import micro_batches
from milora.training.figures import DeviceFigures, Group, StepFigures, read_figures
from milora.training.optimizer import GroupOptimizer, only_trains
from milora.tuners import split_parameters


@dataclass(frozen=True)
class TrainingSettings:
    """Settings that hold for a whole training; ``balance`` is the weight of the balance loss."""

    micro_batch: int = 16
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    max_gradient_norm: float | None = 1.0
    balance: float = 0.0
    seed: int = 0


class TrainingSession:
    """An adapter in training. A step returns without reading anything from the device.

    Args:
        model: The model with the adapter active.
        adapter: The adapter's name.
        settings: See :class:`TrainingSettings`.
        pad_id: Fills rows at the right; any id does.
    """

    def __init__(self, model: nn.Module, adapter: str, settings: TrainingSettings, pad_id: int) -> None:
        self.model = model
        self.adapter = adapter
        self.settings = settings
        self._pad_id = pad_id
        self._device = next(model.parameters()).device
        omega, theta = split_parameters(model, adapter)
        for parameter in (*omega.values(), *theta.values()):
            # In bf16 an update at a small learning rate is rounded away: what trains is float32.
            if parameter.dtype not in (torch.float32, torch.float64):
                parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        common = {"betas": settings.betas, "epsilon": settings.epsilon}
        clip = settings.max_gradient_norm
        self.weights = GroupOptimizer(omega, **common, weight_decay=settings.weight_decay, max_gradient_norm=clip)
        # Decay would pull the activations' coefficients to the zero function.
        self.activation = GroupOptimizer(theta, **common, weight_decay=0.0, max_gradient_norm=clip)
        self._figures: list[DeviceFigures] = []
        seed_everything(settings.seed)

    def step(self, dataset: Dataset, rows: Sequence[int], learning_rate: float, kind: Group) -> None:
        """One AdamW step on Ω (``weights``) or Θ (``activation``) over the rows.

        The loss is Σ token losses / Σ answer tokens of all rows, plus the weighted balance loss of all their prompts,
        whatever the micro-batch. Rows without answer tokens are skipped; a step with no others changes nothing.

        Raises:
            MiloraError: ``adapter/unsupported`` for an ``activation`` step of an adapter without learned activations.
        """
        trained, frozen = (self.weights, self.activation) if kind == "weights" else (self.activation, self.weights)
        if not trained.parameters:
            message = f"The adapter {self.adapter!r} has no parameters in the group {kind!r}."
            raise MiloraError("adapter/unsupported", message, found=kind)
        groups = micro_batches(dataset.take(rows), self.settings.micro_batch)
        if not groups:
            self._figures.append(DeviceFigures(kind, None, None, None, 0, 0))
            return
        with _training_mode(self.model), only_trains(trained, frozen):
            figures = self._accumulate(groups, kind)
        norm = trained.step(learning_rate)
        self._figures.append(replace(figures, gradient_norm=norm))

    def figures(self) -> list[StepFigures]:
        """Figures of every step since the last call, oldest first."""
        steps, self._figures = self._figures, []
        return read_figures(steps)

    def _accumulate(self, groups: list[list[TokenRow]], kind: Group) -> DeviceFigures:
        """Adds up the gradients of a step's micro-batches."""
        context = routing_context(self.model)
        batches = [collate(group, self._pad_id, self._device) for group in groups]
        answer_tokens = sum(batch.num_answer_tokens for batch in batches)
        num_prompts = sum(len(group) for group in groups)
        share = self._first_choice_share(context, groups, num_prompts) if len(groups) > 1 else None
        nll: list[Tensor] = []
        balance: list[Tensor] = []
        for batch in batches:
            batch_nll, batch_balance = self._losses(context, batch, share, num_prompts)
            loss = batch_nll / answer_tokens
            if batch_balance is not None and self.settings.balance > 0:
                loss = loss + self.settings.balance * batch_balance
            loss.backward()
            nll.append(batch_nll.detach())
            if batch_balance is not None:
                balance.append(batch_balance.detach())
        return DeviceFigures(
            kind=kind,
            loss=torch.stack(nll).sum() / answer_tokens,
            balance=torch.stack(balance).sum() if balance else None,
            gradient_norm=None,
            answer_tokens=answer_tokens,
            tokens=sum(batch.num_tokens for batch in batches),
        )

    def _losses(
        self, context: RoutingContext | None, batch: Batch, share: Tensor | None, num_prompts: int
    ) -> tuple[Tensor, Tensor | None]:
        if context is None:
            return _summed_nll(self.model, batch), None
        with context.prompt(batch.prompt_mask), context.record() as record:
            nll = _summed_nll(self.model, batch)
        return nll, record.balance_loss(share, num_prompts)

    def _first_choice_share(
        self, context: RoutingContext | None, groups: list[list[TokenRow]], num_prompts: int
    ) -> Tensor | None:
        """f over the whole step, [layers, experts], from a pass over the prompts alone.

        Each micro-batch's balance loss needs the step's f before any gradient is made. Dropout is off here: f has no
        gradient and is better without noise.
        """
        if context is None:
            return None
        self.model.eval()
        counts: Tensor | None = None
        with torch.no_grad():
            for group in groups:
                prompts = [TokenRow(row.prompt_ids, ()) for row in group]
                batch = collate(prompts, self._pad_id, self._device)
                with context.prompt(batch.prompt_mask), context.record() as record:
                    run_decoder(self.model, batch)
                found = record.first_choice_counts()
                counts = found if counts is None else counts + found
        self.model.train()
        assert counts is not None
        return counts / num_prompts


def _summed_nll(model: nn.Module, batch: Batch) -> Tensor:
    return functional.cross_entropy(answer_logits(model, batch), batch.targets, reduction="sum")


@contextlib.contextmanager
def _training_mode(model: nn.Module) -> Iterator[None]:
    model.train()
    try:
        yield
    finally:
        model.eval()
