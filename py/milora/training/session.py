"""Training steps on an adapter: two groups of parameters, one loss over a whole step."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from milora.data import Dataset
from milora.errors import MiloraError
from milora.models import fast_decoder, right_padded, seed_everything
from milora.training.batching import StepRows, step_rows
from milora.training.compiled import CompiledLayers
from milora.training.figures import DeviceFigures, Group, StepFigures, read_figures
from milora.training.loss_scale import LossScale
from milora.training.memory import MemoryGauge
from milora.training.optimizer import GroupOptimizer, only_trains
from milora.training.parameter_groups import lora_plus_factors, vectors
from milora.training.random_state import RandomState
from milora.training.ranks import ALONE, Ranks
from milora.training.second_order import BilevelGradients, Gradients, second_order_gradient
from milora.training.step_loss import StepLoss
from milora.training.whole_step import thrown_away, whole_or_nothing
from milora.tuners import split_parameters
from milora.tuners.methods import hooks_of


@dataclass(frozen=True)
class TrainingSettings:
    """Settings that hold for a whole training.

    ``balance`` is the weight of the balance loss; ``lora_plus_ratio`` the rate of LoRA's B matrices over that of all
    else (LoRA+, Hayou et al. 2024); with ``weight_decay_on="matrices"`` parameters of one dimension do not decay;
    ``compile`` compiles the decoder's layers.
    """

    micro_batch: int = 16
    weight_decay: float = 0.0
    weight_decay_on: Literal["all", "matrices"] = "all"
    lora_plus_ratio: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    max_gradient_norm: float | None = 1.0
    balance: float = 0.0
    compile: bool = False
    seed: int = 0


class VirtualStep(NamedTuple):
    """The weight step that a second-order gradient of Θ looks through: its data, rows and rate ξ."""

    dataset: Dataset
    rows: Sequence[int]
    learning_rate: float


class TrainingSession:
    """An adapter in training. A step returns without reading anything from the device.

    Args:
        model: The model with the adapter active.
        adapter: The adapter's name.
        settings: See :class:`TrainingSettings`.
        pad_id: Fills rows at the right; any id does.
        ranks: Those that share each step; every one of them makes it, and holds the same parameters afterwards.
    """

    def __init__(
        self, model: nn.Module, adapter: str, settings: TrainingSettings, pad_id: int, ranks: Ranks = ALONE
    ) -> None:
        self.model = model
        self.adapter = adapter
        self.settings = settings
        self._pad_id = pad_id
        self.ranks = ranks
        self._device = next(model.parameters()).device
        self.hooks = hooks_of(model, adapter)
        omega, theta = split_parameters(model, adapter)
        for parameter in (*omega.values(), *theta.values()):
            # In bf16 an update at a small learning rate is rounded away: what trains is float32.
            if parameter.dtype not in (torch.float32, torch.float64):
                parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        common = {"betas": settings.betas, "epsilon": settings.epsilon}
        clip = settings.max_gradient_norm
        self.weights = GroupOptimizer(
            omega,
            **common,
            weight_decay=settings.weight_decay,
            max_gradient_norm=clip,
            rate_factors=lora_plus_factors(omega, adapter, settings.lora_plus_ratio),
            undecayed=vectors(omega) if settings.weight_decay_on == "matrices" else (),
        )
        # Decay would pull the activations' coefficients to the zero function.
        self.activation = GroupOptimizer(theta, **common, weight_decay=0.0, max_gradient_norm=clip)
        self.micro_batch = settings.micro_batch
        base_dtypes = {parameter.dtype for parameter in model.parameters() if not parameter.requires_grad}
        self.scale = LossScale(self._device) if torch.float16 in base_dtypes else None
        self._compiled = CompiledLayers(model) if settings.compile else None
        self._figures: list[DeviceFigures] = []
        # Dropout must not be the same on each rank.
        seed_everything(settings.seed + self.ranks.index)

    def step(
        self,
        dataset: Dataset,
        rows: Sequence[int],
        learning_rate: float,
        kind: Group,
        virtual_step: VirtualStep | None = None,
        budget_step: int | None = None,
    ) -> None:
        """One AdamW step on Ω (``weights``) or Θ (``activation``) over the rows.

        The loss is Σ token losses / Σ answer tokens of all rows, plus the weighted balance loss of all their prompts,
        whatever the micro-batch. Rows without answer tokens are skipped; a step with no others changes nothing.

        Args:
            dataset: Holds the rows.
            rows: Indices into it.
            learning_rate: Of this step.
            kind: The group that moves.
            virtual_step: For ``activation`` alone: the gradient is second order, through this step of the weights, and
                the figures are those of the loss behind it. None, or rows without answer tokens: first order.
            budget_step: For a method with a budget schedule: the step of it, from 1.

        Raises:
            MiloraError: ``adapter/unsupported`` for an ``activation`` step of an adapter without learned activations;
                ``input/invalid-spec`` for a ``weights`` step with a virtual step.
        """
        if virtual_step is not None and kind != "activation":
            message = (
                f"A step of the group {kind!r} has a virtual step; only one of the group 'activation' can have it."
            )
            raise MiloraError("input/invalid-spec", message, found=kind, allowed="activation")
        trained, frozen = (self.weights, self.activation) if kind == "weights" else (self.activation, self.weights)
        if not trained.parameters:
            message = f"The adapter {self.adapter!r} has no parameters in the group {kind!r}."
            raise MiloraError("adapter/unsupported", message, found=kind)
        own = self._rows(dataset, rows)
        virtual = self._rows(virtual_step.dataset, virtual_step.rows) if virtual_step is not None else None
        if own.rows == 0:
            self._figures.append(DeviceFigures(kind, None, None, None, 0, 0))
            return
        with _training_mode(self.model), whole_or_nothing([trained, frozen], self._device):
            if virtual_step is None or virtual is None or virtual.rows == 0:
                with only_trains([trained], [frozen]):
                    figures = self._accumulate(own, kind)
            else:
                figures = self._look_ahead(own, virtual, virtual_step.learning_rate)
            norm = trained.step(learning_rate, self._after_update(budget_step))
        if self.scale is not None:
            self.scale.update(norm)
        self._figures.append(replace(figures, gradient_norm=norm))

    def trial(self, dataset: Dataset, rows: Sequence[int]) -> int:
        """Computes the gradients of rows, all at once on this rank, and throws them away; gives the bytes it took."""
        gauge = MemoryGauge(self._device)
        groups = [self.weights, self.activation]
        with _training_mode(self.model), thrown_away(groups, self._device), only_trains(groups[:1], groups[1:]):
            self._accumulate(step_rows(dataset.take(rows), len(rows), ALONE), "weights", ALONE)
            return gauge.used()

    def figures(self) -> list[StepFigures]:
        """Figures of every step since the last call, oldest first."""
        steps, self._figures = self._figures, []
        return read_figures(steps)

    def _after_update(self, budget_step: int | None) -> Callable[[], None] | None:
        if budget_step is None:
            return None
        return functools.partial(self.hooks.after_update, self.model, self.adapter, budget_step)

    def _rows(self, dataset: Dataset, rows: Sequence[int]) -> StepRows:
        return step_rows(dataset.take(rows), self.micro_batch, self.ranks)

    def _look_ahead(self, rows: StepRows, virtual_rows: StepRows, virtual_rate: float) -> DeviceFigures:
        """Leaves Θ's second-order gradient on its parameters; Ω has no gradient and its values afterwards."""
        weights, activation = self.weights, self.activation
        found: list[DeviceFigures] = []
        random_state = RandomState(self._device)

        def train_weights() -> Gradients:
            with only_trains([weights], [activation]):
                self._accumulate(virtual_rows, "weights")
            return weights.take_gradients()

        def train_activation() -> Gradients:
            with random_state.again(), only_trains([activation], [weights]):
                self._accumulate(virtual_rows, "activation")
            return activation.take_gradients()

        def validation() -> tuple[Gradients, Gradients]:
            with only_trains([weights, activation]):
                found.append(self._accumulate(rows, "activation"))
            return weights.take_gradients(), activation.take_gradients()

        gradients = BilevelGradients(train_weights, train_activation, validation)
        activation.put_gradients(second_order_gradient(list(weights.parameters.values()), virtual_rate, gradients))
        return found[0]

    def _accumulate(self, rows: StepRows, kind: Group, ranks: Ranks | None = None) -> DeviceFigures:
        """Leaves the gradients of a step's rows on what trains, as loss scaling does not show."""
        loss = StepLoss(self.model, self.adapter, self.settings.balance, self._pad_id, ranks or self.ranks)
        parameters = [*self.weights.parameters.values(), *self.activation.parameters.values()]
        trained = [parameter for parameter in parameters if parameter.requires_grad]

        def extra() -> Tensor | None:
            return self.hooks.extra_loss(self.model, self.adapter) if kind == "weights" else None

        with self._fast_layers(), right_padded(self.model):
            sums = loss.backward(rows, trained, self._scaled, extra)
        if self.scale is not None:
            self.scale.unscale(parameters)
        return DeviceFigures(
            kind=kind,
            loss=sums.nll / rows.answer_tokens,
            balance=sums.balance,
            gradient_norm=None,
            answer_tokens=rows.answer_tokens,
            tokens=rows.tokens,
        )

    @contextlib.contextmanager
    def _fast_layers(self) -> Iterator[None]:
        """Inside, the layers run compiled or in the fast forms that they have; the latter cast what trains here, once
        for all micro-batches."""
        if self._compiled is not None:
            with self._compiled.running():
                yield
            return
        with self.hooks.fast_forwards(self.model, self.adapter), fast_decoder(self.model):
            yield

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss if self.scale is None else loss * self.scale.value


@contextlib.contextmanager
def _training_mode(model: nn.Module) -> Iterator[None]:
    model.train()
    try:
        yield
    finally:
        model.eval()
