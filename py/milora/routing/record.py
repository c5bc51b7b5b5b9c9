"""What the routers of a model decided in a forward pass, for losses and statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from milora.errors import MiloraError
from milora.routing.balance import balance_loss, first_choices
from milora.routing.decision import stack_experts


class RoutingRecord:
    """The routing of the last forward pass that made a decision, all layers; filled inside ``context.record()``.

    A row is a prompt of the batch (in ``generate`` a beam). A layer with fewer experts than another is padded with
    zeros where layers are stacked. Where no router was asked (a fixed policy, a decision given by the caller) there
    are gates, but no probabilities, no first choices and no balance loss.
    """

    def __init__(self, adapter: str | None) -> None:
        self._wanted = adapter
        self._adapter: str | None = None
        self._probabilities: dict[int, Tensor] = {}
        self._gates: dict[int, Tensor] = {}
        self._real: Tensor | None = None

    def note(
        self, adapter: str, layer: int, probabilities: Tensor | None, gates: Tensor, real: Tensor | None = None
    ) -> None:
        """Called by each layer when it decides; ``probabilities`` is None where no router was asked."""
        if self._wanted is not None and adapter != self._wanted:
            return
        if self._adapter is not None and adapter != self._adapter:
            raise MiloraError(
                "adapter/unsupported",
                f"Adapters {self._adapter!r} and {adapter!r} routed in one record; "
                "name one: context.record(adapter=...).",
            )
        self._adapter = adapter
        self._gates[layer] = gates
        self._real = real
        if probabilities is None:
            self._probabilities.pop(layer, None)
        else:
            self._probabilities[layer] = probabilities

    @property
    def probabilities(self) -> list[Tensor]:
        """The routers' softmax, one [prompts, experts] a layer, with gradient; empty where no router was asked."""
        self._check()
        return [self._probabilities[layer] for layer in sorted(self._probabilities)]

    @property
    def gates(self) -> Tensor:
        """The gates, [prompts, layers, experts], exactly 0 where an expert was not chosen."""
        self._check()
        return stack_experts(self._on_one_device(self._gates))

    @property
    def num_prompts(self) -> int:
        """Rows of the recorded batch."""
        self._check()
        return next(iter(self._gates.values())).shape[0]

    def first_choice_counts(self) -> Tensor:
        """How often each expert was the most probable one: int64, [layers, experts]; 0 where no router was asked."""
        self._check()
        if not self._probabilities:
            return torch.zeros_like(self.gates[0], dtype=torch.int64)
        counts = [first_choices(p.detach()) for p in self._on_one_device(self._probabilities)]
        return stack_experts(counts)

    def chosen_counts(self) -> Tensor:
        """How often each expert was chosen (its gate is above 0): int64, [layers, experts]."""
        return (self.gates > 0).sum(dim=0)

    def balance_loss(self, first_choice_share: Tensor | None = None, num_prompts: int | None = None) -> Tensor | None:
        """The balance loss N_mod Σ f_i p̂_i, mean over layers; None where no router was asked.

        Args:
            first_choice_share: f over a whole step, [layers, experts]; by default that of the recorded batch.
            num_prompts: Prompts of the whole step; by default those of the recorded batch. With both given, the
                losses of a step's micro-batches add up to the loss of the whole batch.
        """
        self._check()
        if not self._probabilities:
            return None
        prompts = self.num_prompts if num_prompts is None else num_prompts
        losses: list[Tensor] = []
        for index, probabilities in enumerate(self._on_one_device(self._probabilities)):
            if first_choice_share is None:
                share = first_choices(probabilities.detach()) / prompts
            else:
                share = first_choice_share[index, : probabilities.shape[-1]]
            losses.append(balance_loss(probabilities, share, prompts))
        return torch.stack(losses).mean()

    def _on_one_device(self, by_layer: dict[int, Tensor]) -> list[Tensor]:
        tensors = [by_layer[layer] for layer in sorted(by_layer)]
        if self._real is not None:
            # Not where they are noted: a layer that gradient checkpointing recomputes must do the same again.
            tensors = [tensor * self._real.to(tensor.device).unsqueeze(-1) for tensor in tensors]
        return [tensor.to(tensors[0].device) for tensor in tensors]

    def _check(self) -> None:
        if not self._gates:
            raise MiloraError(
                "adapter/unsupported",
                "Nothing was routed in this record: run a forward pass with an enabled routed adapter inside it.",
            )
