"""Several named adapters on one base model, one of them active at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from milora.checkpoint import attach_adapter, read_adapter, save_adapter
from milora.checkpoint.adapter import adapter_config, adapter_tensors
from milora.checkpoint.attach import Trains
from milora.errors import MiloraError
from milora.routing.context import RoutingContext, routing_context
from milora.tuners.methods import hooks_of

_ALONE = ("ADALORA",)
"""Types of which PEFT trains only the first adapter that is put into a model."""


@dataclass(frozen=True)
class ActiveModel:
    """The model to call; ``context`` is set where the active adapter must know the prompt.

    ``routing`` is the same context where the adapter routes prompts, so that there is something to record.
    """

    model: PreTrainedModel | PeftModel
    context: RoutingContext | None
    routing: RoutingContext | None


@dataclass
class _Kept:
    """An adapter of the host: its ``adapter_config.json``, what of it trains, its weights while out of the model."""

    config: dict[str, Any]
    trains: Trains
    trainable: bool
    tensors: dict[str, Tensor] | None = None


class AdapterHost:
    """The adapters of one base model.

    PEFT puts adapters of one method at a time into a model. Adapters of other methods wait here with their weights,
    and the model is rebuilt when one of them is asked for.
    """

    def __init__(self, base: PreTrainedModel) -> None:
        self._base = base
        self._peft: PeftModel | None = None
        self._adapters: dict[str, _Kept] = {}
        self._held: str | None = None

    @property
    def base(self) -> PreTrainedModel:
        """The model without adapters, whichever are in it."""
        return self._base

    @property
    def names(self) -> tuple[str, ...]:
        """Adapters in the order they came."""
        return tuple(self._adapters)

    def attach(
        self,
        name: str,
        config: dict[str, Any],
        seed: int,
        *,
        tensors: dict[str, Tensor] | None = None,
        trains: Trains = "all",
    ) -> PeftModel:
        """Adds an adapter to train, new or starting from ``tensors``, and makes it active.

        Raises:
            MiloraError: ``adapter/bad-name``, ``adapter/mismatch``, or ``adapter/unsupported`` during the training of
                an adapter of another method.
        """
        return self._add(name, config, tensors, seed, trainable=True, trains=trains)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """An adapter's weights by the keys of its file; copies."""
        with self.use(name):
            assert self._peft is not None
            return {key: tensor.detach().clone() for key, tensor in adapter_tensors(self._peft, name).items()}

    def state(self, name: str) -> dict[str, Tensor]:
        """An adapter's weights as they are held, by the keys of its file; no copies, and none becomes active."""
        self.check(name)
        kept = self._adapters[name]
        if kept.tensors is not None:
            return kept.tensors
        assert self._peft is not None
        return adapter_tensors(self._peft, name)

    def load(self, name: str, folder: Path) -> PeftModel:
        """Adds the adapter of a folder and makes it active.

        Raises:
            MiloraError: as :meth:`attach`, and ``adapter/not-found`` or ``adapter/unreadable``.
        """
        config, tensors = read_adapter(folder)
        return self._add(name, config, tensors, 0, trainable=False)

    def config(self, name: str) -> dict[str, Any]:
        """The fields of an adapter's ``adapter_config.json``."""
        self.check(name)
        return self._adapters[name].config

    def save(self, name: str, folder: Path) -> int:
        """Writes an adapter in PEFT's layout; gives the bytes written."""
        with self.use(name):
            assert self._peft is not None
            return save_adapter(self._peft, name, folder)

    def unload(self, name: str) -> None:
        """Removes an adapter and its weights.

        Raises:
            MiloraError: ``adapter/not-found``, or ``adapter/unsupported`` while it is in training.
        """
        self.check(name)
        if name == self._held:
            message = f"The adapter {name!r} is in training; stop the training before unloading it."
            raise MiloraError("adapter/unsupported", message, found=name)
        kept = self._adapters.pop(name)
        if kept.tensors is not None or self._peft is None:
            return
        if any(other.tensors is None for other in self._adapters.values()):
            self._activate(next(other for other, entry in self._adapters.items() if entry.tensors is None))
            self._peft.delete_adapter(name)
        else:
            self._strip()

    def check(self, name: str | None) -> None:
        """Raises ``adapter/not-found`` for a name that is not here; None is the base model and always is."""
        if name is None or name in self._adapters:
            return
        close = get_close_matches(name, self._adapters, n=1)
        known = ", ".join(self._adapters) or "none"
        hint = f"Did you mean {close[0]!r}?" if close else "Attach or load the adapter first."
        message = f"There is no adapter {name!r}; loaded: {known}. {hint}"
        raise MiloraError("adapter/not-found", message, found=name, allowed=known, hint=hint)

    def hold(self, name: str | None) -> None:
        """Says which adapter is in training (None: none); until then adapters of other methods are refused."""
        self.check(name)
        self._held = name

    @contextlib.contextmanager
    def use(self, name: str | None) -> Iterator[ActiveModel]:
        """Makes an adapter (None: the bare base model) active for the block.

        Raises:
            MiloraError: ``adapter/not-found``, or ``adapter/unsupported`` during the training of an adapter of
                another method.
        """
        self.check(name)
        if name is not None:
            model = self._bring_in(name)
            context = routing_context(model)
            records = hooks_of(model, name).records_prompts(model.peft_config[name])
            yield ActiveModel(model, context, context if records else None)
        elif self._peft is None:
            yield ActiveModel(self._base, None, None)
        else:
            with self._peft.disable_adapter():
                yield ActiveModel(self._peft, None, None)

    def _add(
        self,
        name: str,
        config: dict[str, Any],
        tensors: dict[str, Tensor] | None,
        seed: int,
        *,
        trainable: bool,
        trains: Trains = "all",
    ) -> PeftModel:
        if name in self._adapters:
            message = f"There already is an adapter {name!r}; unload it first, or take another name."
            raise MiloraError("adapter/bad-name", message, found=name)
        self._make_room(config, name)
        model = self._inject(name, config, tensors, seed, trainable=trainable, trains=trains)
        self._adapters[name] = _Kept(config, trains, trainable)
        return model

    def _bring_in(self, name: str) -> PeftModel:
        kept = self._adapters[name]
        if kept.tensors is not None:
            self._make_room(kept.config, name)
            # An AdaLoRA adapter that has reached its budget is pruned by now, and at the end of its training.
            pruned = kept.config.get("peft_type") in _ALONE and kept.config.get("rank_pattern")
            trainable = kept.trainable and not pruned
            self._inject(name, kept.config, kept.tensors, 0, trainable=trainable, trains=kept.trains)
            kept.tensors = None
        return self._activate(name)

    def _make_room(self, config: dict[str, Any], name: str) -> None:
        """Takes adapters of another method out of the model, keeping their weights."""
        present = [kept for kept in self._adapters.values() if kept.tensors is None]
        peft_type = config.get("peft_type")
        if not present or (present[0].config.get("peft_type") == peft_type and peft_type not in _ALONE):
            return
        if self._held is not None:
            raise MiloraError(
                "adapter/unsupported",
                f"The adapter {name!r} can't be in one model with {self._held!r}, which is in training: it is of "
                "another method, or of one that PEFT trains alone (AdaLoRA). Stop the training first.",
                found=name,
            )
        assert self._peft is not None
        for other, kept in self._adapters.items():
            if kept.tensors is None:
                state = adapter_tensors(self._peft, other)
                kept.tensors = {key: tensor.detach().clone() for key, tensor in state.items()}
                # Training may have changed it: AdaLoRA's says which singular values the tensors hold.
                kept.config = adapter_config(self._peft, other)
        self._strip()

    def _inject(
        self,
        name: str,
        config: dict[str, Any],
        tensors: dict[str, Tensor] | None,
        seed: int,
        *,
        trainable: bool,
        trains: Trains = "all",
    ) -> PeftModel:
        model = self._peft or self._base
        try:
            self._peft = attach_adapter(model, config, name, tensors, seed, trainable=trainable, trains=trains)
        except BaseException:
            if self._peft is None:
                self._clean_base()
            raise
        self._peft.eval()
        return self._activate(name)

    def _activate(self, name: str) -> PeftModel:
        assert self._peft is not None
        if self._peft.active_adapters != [name]:
            self._peft.set_adapter(name)
        return self._peft

    def _strip(self) -> None:
        assert self._peft is not None
        self._peft.unload()
        self._clean_base()
        self._peft = None

    def _clean_base(self) -> None:
        # PEFT leaves its marks on the base model, and warns about them when the next adapter comes.
        for mark in ("peft_config", "_hf_peft_config_loaded"):
            if mark in self._base.__dict__:
                delattr(self._base, mark)
