"""transformers' ``Trainer`` for MiLoRA adapters: the balance loss, and one loss over a whole step."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import Trainer

from milora.errors import MiloraError
from milora.routing.context import RoutingContext, routing_context
from milora.routing.prompt import ForwardInputs, inferred_prompt
from milora.tuners.methods import hooks_of
from milora.tuners.milora import MiloraConfig
from milora.tuners.parameters import split_parameters

_PROMPT_INPUTS = ("input_ids", "attention_mask", "position_ids")


class MiloraTrainer(Trainer):
    """A ``Trainer`` whose loss is Σ token losses / Σ answer tokens of the step, plus λ_lb times the balance loss.

    The prompt of a row is where its labels are -100 (and its attention mask is 1). With gradient accumulation both
    losses are those of the whole step, as one large batch would give. With several processes each one's balance loss
    is that of its own prompts, and the gradient is their mean. Other adapters train as with ``Trainer``.

    Args:
        *arguments: ``Trainer``'s, by position; ``model`` is a PeftModel whose active adapter trains.
        balance: λ_lb, the weight of the balance loss.
        train_activation: Whether the coefficients Θ of the learned activations train, with the weights' learning rate
            and without weight decay. By default they stay as they are: the paper's bi-level training, which moves them
            on the dev set, is the command line's (``milora train``).
        **options: ``Trainer``'s, by name.

    Raises:
        MiloraError: ``adapter/unsupported`` for a model without an adapter or with several active ones, or with
            ``DataParallel``; ``model/unsupported`` for a model that cannot divide its loss by the step's tokens.
    """

    def __init__(self, *arguments: Any, balance: float = 0.01, train_activation: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if not self.model_accepts_loss_kwargs and self.compute_loss_func is None:
            raise MiloraError(
                "model/unsupported",
                f"{type(self.model).__name__} takes no num_items_in_batch, so its loss cannot be divided by the "
                "step's answer tokens. Give compute_loss_func, or use transformers' Trainer.",
            )
        self.balance = balance
        peft_model, adapter = _active_adapter(self.model)
        self._theta = split_parameters(peft_model, adapter)[1]
        self._train_activation = train_activation
        self._set_theta()
        reads = hooks_of(peft_model, adapter).reads_prompt(peft_model.peft_config[adapter])
        self._reader = routing_context(peft_model) if reads else None
        self._routing = _balanced_routing(peft_model, adapter) if balance > 0 else None
        if self._routing is not None and self.args.n_gpu > 1:
            raise MiloraError(
                "adapter/unsupported",
                "DataParallel copies the model at each step, and the routers' decisions are lost with the copies. "
                "Start one process a GPU with torchrun, or show one GPU with CUDA_VISIBLE_DEVICES.",
            )
        self._step_batches: list[dict[str, Any]] = []
        self._first_choice_share: Tensor | None = None

    def create_optimizer(self, *arguments: Any, **options: Any) -> torch.optim.Optimizer:
        """As in ``Trainer``."""
        self._set_theta()
        return super().create_optimizer(*arguments, **options)

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """As in ``Trainer``, without Θ: decay would pull the activations to the zero function."""
        return [name for name in super().get_decay_parameter_names(model) if name not in self._theta]

    def get_batch_samples(self, *arguments: Any, **options: Any) -> tuple[list[Any], Tensor | int | None]:
        """As in ``Trainer``; keeps the step's micro-batches, whose prompts the balance loss is taken over."""
        self._set_theta()
        batches, num_items_in_batch = super().get_batch_samples(*arguments, **options)
        self._step_batches, self._first_choice_share = batches, None
        return batches, num_items_in_batch

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a micro-batch, as its share of the step's; in evaluation without the balance loss."""
        if isinstance(num_items_in_batch, Tensor):
            # A step without answer tokens has loss 0, not 0 / 0.
            num_items_in_batch = num_items_in_batch.clamp(min=1)
        context = self._routing
        if context is None or not model.training:
            with self._marked(inputs):
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        share = self._share(context, model)
        with context.prompt(_prompt_mask(inputs)), context.record() as record:
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        num_prompts = sum(len(batch["input_ids"]) for batch in self._step_batches) or record.num_prompts
        balance = record.balance_loss(share, num_prompts)
        if balance is not None:
            loss = loss + self.balance * balance.to(loss.device)
        return (loss, outputs) if return_outputs else loss

    def _marked(self, inputs: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        """Marks the prompt for an adapter that reads it, since label smoothing takes the labels out of the inputs."""
        if self._reader is None or inputs.get("labels") is None:
            return contextlib.nullcontext()
        return self._reader.prompt(_prompt_mask(inputs))

    def _set_theta(self) -> None:
        # Again and again: PEFT lets all of an adapter train whenever it loads or activates it.
        for parameter in self._theta.values():
            parameter.requires_grad_(self._train_activation)

    def _share(self, context: RoutingContext, model: nn.Module) -> Tensor | None:
        """f over the step, [layers, experts], from a pass over its prompts alone; None: the one batch's own."""
        if len(self._step_batches) < 2:
            return None
        if self._first_choice_share is None:
            batches = [self._prepare_inputs(batch) for batch in self._step_batches]
            model.eval()
            try:
                with torch.no_grad():
                    counts = [_first_choices(context, model, batch) for batch in batches]
            finally:
                model.train()
            prompts = sum(len(batch["input_ids"]) for batch in batches)
            self._first_choice_share = torch.stack(counts).sum(dim=0) / prompts
        return self._first_choice_share


def _active_adapter(model: nn.Module | None) -> tuple[PeftModel, str]:
    if not isinstance(model, PeftModel):
        raise MiloraError(
            "adapter/unsupported", "The model has no adapter. Attach one: milora.attach(model, milora.plan(model))."
        )
    active = model.active_adapters
    if len(active) != 1:
        message = f"Adapters {', '.join(active) or 'none'} are active; MiloraTrainer trains one: set_adapter(name)."
        raise MiloraError("adapter/unsupported", message, found=", ".join(active))
    return model, active[0]


def _balanced_routing(model: PeftModel, adapter: str) -> RoutingContext | None:
    """The routing context where routers decide; with a fixed policy there is nothing to balance."""
    config = model.peft_config[adapter]
    learned = isinstance(config, MiloraConfig) and config.policy == "learned"
    return routing_context(model) if learned else None


def _prompt_mask(inputs: Mapping[str, Any]) -> Tensor:
    given = ForwardInputs(inputs.get("attention_mask"), inputs.get("labels"), past_is_filled=False)
    return inferred_prompt(given, inputs["input_ids"][..., None])


def _first_choices(context: RoutingContext, model: nn.Module, inputs: Mapping[str, Any]) -> Tensor:
    mask = _prompt_mask(inputs)
    # What comes behind the last prompt token cannot change a causal model's states of the prompt.
    width = int(mask.any(dim=0).nonzero().max()) + 1
    prompts = {name: inputs[name][:, :width] for name in _PROMPT_INPUTS if name in inputs}
    with context.prompt(mask[:, :width]), context.record() as record:
        model(**prompts, use_cache=False, logits_to_keep=1)
    return record.first_choice_counts()
