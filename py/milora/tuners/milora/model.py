"""The MiLoRA tuner: puts experts and routers into a causal language model, through PEFT."""

from __future__ import annotations

from typing import Any

from peft.config import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from milora.routing.context import install_context, remove_context
from milora.routing.generation import unwrap_generate, wrap_generate
from milora.routing.hooks import remove_hooks
from milora.routing.override import RouterPlace
from milora.tuners.base import Place, PlannedTuner, layer_index_of
from milora.tuners.milora.config import LayerPlan, MiloraConfig
from milora.tuners.milora.layer import ExpertSettings, MiloraLinear
from milora.tuners.milora.router import ROUTER_ATTRIBUTE, MiloraRouter, RouterSettings


class MiloraModel(PlannedTuner):
    """The MiLoRA tuner (arXiv 2410.18035)."""

    prefix = "milora_prompt_"
    label = "MiLoRA"
    merge_refusal = "which experts are active depends on the prompt"
    tuner_layer_cls = (MiloraLinear, MiloraRouter)  # pyright: ignore[reportAssignmentType]

    def add_at(self, place: Place, config: Any, adapter: str) -> None:
        """Puts an expert at a place, and before the first one of a layer its router."""
        assert isinstance(config, MiloraConfig)
        layer_plan, index = _placed(config)[place.site.path]
        expert = layer_plan.experts[index]
        router = self._router(config, adapter, layer_plan, place.target)
        if not isinstance(place.target, MiloraLinear):
            module = MiloraLinear(place.target, router.decisions)
            module.set_adapter(self.active_adapters)
            self._replace_module(place.parent, place.target_name, module, place.target)
        else:
            module = place.target
        settings = ExpertSettings(
            index=index,
            rank=expert.rank,
            alpha=float(expert.alpha),
            dropout=config.lora_dropout,
            kind=config.expert,
            accumulate=config.accumulate,
        )
        module.update_layer(adapter, settings, config.inference_mode)

    def _router(
        self, config: MiloraConfig, adapter_name: str, layer_plan: LayerPlan, target: nn.Module
    ) -> MiloraRouter:
        """The router of a layer, made where missing, with the adapter added where missing."""
        layer = self.model.get_submodule(layer_plan.path)
        router = getattr(layer, ROUTER_ATTRIBUTE, None)
        if router is None:
            wrap_generate(self.model)
            router = MiloraRouter(install_context(self.model), layer_index_of(layer_plan.path))
            router.set_adapter(self.active_adapters)
            setattr(layer, ROUTER_ATTRIBUTE, router)
            layer.register_forward_pre_hook(router.before_layer, with_kwargs=True)
        if adapter_name not in router.milora_prompt_settings:
            settings = RouterSettings(
                hidden_size=config.hidden_size,
                place=_place(config, adapter_name, layer_plan),
                top_k=config.top_k,
                pooler=config.pooler,
                activation=layer_plan.activation,
                gate=config.gate,
                normalize=config.router_input == "normalized",
                fixed=_fixed_experts(layer_plan),
            )
            base: Any = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
            router.update_layer(adapter_name, settings, base.weight, config.inference_mode)
        return router

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> Any:
        super()._unload_and_optionally_merge(*args, **kwargs)
        model = self.model
        for layer in list(model.modules()):
            router = getattr(layer, ROUTER_ATTRIBUTE, None)
            if isinstance(router, MiloraRouter):
                remove_hooks(layer, router)
                delattr(layer, ROUTER_ATTRIBUTE)
        remove_context(model)
        unwrap_generate(model)
        return model


def _place(config: MiloraConfig, adapter: str, layer_plan: LayerPlan) -> RouterPlace:
    indices = sorted(layer_index_of(layer.path) for layer in config.plan)
    return RouterPlace(
        adapter=adapter,
        position=indices.index(layer_index_of(layer_plan.path)),
        num_layers=len(indices),
        experts=tuple(expert.name for expert in layer_plan.experts),
        most_experts=max(len(layer.experts) for layer in config.plan),
        known=frozenset(expert.name for layer in config.plan for expert in layer.experts),
    )


def _fixed_experts(layer_plan: LayerPlan) -> frozenset[int] | None:
    if layer_plan.chosen is None:
        return None
    return frozenset(index for index, expert in enumerate(layer_plan.experts) if expert.name in layer_plan.chosen)


def _placed(config: PeftConfig) -> dict[str, tuple[LayerPlan, int]]:
    """Full path of each expert's module → its layer's plan and its index, computed once a config."""
    assert isinstance(config, MiloraConfig)
    placed: dict[str, tuple[LayerPlan, int]] | None = config.__dict__.get("_placed")
    if placed is None:
        placed = {
            f"{layer.path}.{expert.module}": (layer, index)
            for layer in config.plan
            for index, expert in enumerate(layer.experts)
        }
        config.__dict__["_placed"] = placed
    return placed
