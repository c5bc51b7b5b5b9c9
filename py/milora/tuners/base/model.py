"""The tuner of a planned method: puts its layers on the planned places of a causal language model, through PEFT."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from peft.config import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

from milora.errors import MiloraError
from milora.routing.hooks import remove_hooks
from milora.tuners.base.config import PlannedConfig, Site
from milora.tuners.base.layer import BLOCK_ATTRIBUTE, AdapterLayer, BlockAdapter, LinearAdapter
from milora.tuners.base.plan import check_plan
from milora.tuners.names import check_adapter_name


@dataclass(frozen=True)
class Place:
    """A planned site in a model: the module that is there (the base's, or our layer), its name and its parent."""

    site: Site
    target: nn.Module
    target_name: str
    parent: nn.Module


class PlannedTuner(BaseTuner):
    """A tuner whose config plans every place.

    Everything is made in :meth:`add_at`, because PEFT's hooks around an injection do not run for an adapter added
    later; nothing lives on the tuner, because transformers' own adapter loading drops it.
    """

    target_module_mapping: ClassVar[dict[str, list[str]]] = {}  # pyright: ignore[reportIncompatibleVariableOverride]
    label: ClassVar[str]
    merge_refusal: ClassVar[str]
    """Why the method's adapters cannot be merged, the second half of a sentence."""

    @staticmethod
    def _check_target_module_exists(peft_config: PeftConfig, key: str) -> bool:
        assert isinstance(peft_config, PlannedConfig)
        return key in peft_config.sites

    def _prepare_model(self, peft_config: PeftConfig, model: nn.Module) -> None:
        """Refuses a wrong name or plan before anything is changed; runs for every adapter."""
        assert isinstance(peft_config, PlannedConfig)
        name = next(name for name, config in self.peft_config.items() if config is peft_config)
        check_adapter_name(model, name, self.prefix, [other for other in self.peft_config if other != name])
        check_plan(model, name, peft_config)

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        assert isinstance(peft_config, PlannedConfig)
        place = Place(peft_config.sites[current_key], target, target_name, parent)
        self.add_at(place, peft_config, adapter_name)

    def add_at(self, place: Place, config: Any, adapter: str) -> None:
        """Puts an adapter at a place."""
        layer = self.layer_at(place)
        like = weight_of(place.target)
        layer.add_adapter(adapter, config, place.site, like, inference_mode=config.inference_mode)

    def layer_at(self, place: Place) -> AdapterLayer:
        """The method's layer at a place, made where it is missing."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        if kwargs.get("adapter_names") is not None:
            raise MiloraError(
                "adapter/unsupported",
                f"adapter_names (a batch over several adapters) is not supported by {self.label} adapters; "
                "call the model once for each adapter after set_adapter(name).",
            )
        yield

    def _check_merge_allowed(self) -> None:
        raise MiloraError(
            "adapter/unsupported",
            f"A {self.label} adapter cannot be merged into the base model: {self.merge_refusal}. "
            "Use it unmerged, or take it off with unload().",
        )


class LinearTuner(PlannedTuner):
    """A tuner of a method that sits on linear modules."""

    layer_class: ClassVar[type[LinearAdapter]]

    def layer_at(self, place: Place) -> LinearAdapter:
        """Wraps the linear module, once."""
        if isinstance(place.target, self.layer_class):
            return place.target
        layer = self.new_layer(place.target)
        layer.set_adapter(self.active_adapters)
        self._replace_module(place.parent, place.target_name, layer, place.target)
        return layer

    def new_layer(self, base_layer: nn.Module) -> LinearAdapter:
        """The method's layer over a linear module."""
        return self.layer_class(base_layer)


class BlockTuner(PlannedTuner):
    """A tuner of a method that sits beside blocks."""

    layer_class: ClassVar[type[BlockAdapter]]

    def layer_at(self, place: Place) -> BlockAdapter:
        """Gives the block its child, once."""
        layer = getattr(place.target, BLOCK_ATTRIBUTE, None)
        if layer is None:
            layer = self.layer_class()
            layer.set_adapter(self.active_adapters)
            layer.attach(self.model, self.model.get_submodule(place.site.layer), place.target, place.site)
            setattr(place.target, BLOCK_ATTRIBUTE, layer)
        assert isinstance(layer, BlockAdapter)
        return layer

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> Any:
        super()._unload_and_optionally_merge(*args, **kwargs)
        for module in list(self.model.modules()):
            layer = getattr(module, BLOCK_ATTRIBUTE, None)
            if isinstance(layer, BlockAdapter):
                for hooked in self.model.modules():
                    remove_hooks(hooked, layer)
                delattr(module, BLOCK_ATTRIBUTE)
        return self.model


def weight_of(module: nn.Module) -> Tensor:
    """A weight that tells device and dtype of the base below a place."""
    base = module.get_base_layer() if isinstance(module, LinearAdapter) else module
    weight = getattr(base, "weight", None)
    if isinstance(weight, Tensor):
        return weight
    for child in base.modules():
        if isinstance(child, BaseTunerLayer):
            continue
        weight = getattr(child, "weight", None)
        if isinstance(weight, Tensor):
            return weight
    raise MiloraError("model/unsupported", f"A {type(base).__name__} has no weight to tell device and dtype by.")
