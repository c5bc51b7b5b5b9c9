"""SSP's part in training: the end of its search."""

from __future__ import annotations

from typing import Any

from torch import nn

from milora.errors import MiloraError
from milora.tuners.base import FORMAT_VERSION, MethodHooks, config_of
from milora.tuners.ssp.budget import kept_candidates
from milora.tuners.ssp.config import SspConfig
from milora.tuners.ssp.layer import SspLinear
from milora.tuners.ssp.search import structure_of


class SspHooks(MethodHooks):
    """SSP; an adapter that has been searched trains as any other."""

    def prune(self, model: nn.Module, adapter: str) -> int:
        """SSP decides once, at the end of its search.

        Raises:
            MiloraError: ``adapter/unsupported``.
        """
        raise MiloraError("adapter/unsupported", "SSP drops no candidate before the end of its search; discretise it.")

    def discretised(self, model: nn.Module, adapter: str) -> dict[str, Any]:
        """The kept candidates alone: the largest p first, as far as the budget reaches.

        Raises:
            MiloraError: ``adapter/unsupported`` for an adapter whose search is over.
        """
        config = config_of(model, adapter)
        assert isinstance(config, SspConfig)
        if config.budget is None:
            message = f"The search of adapter {adapter!r} is over: it has no budget any more."
            raise MiloraError("adapter/unsupported", message, path="budget", found="null")
        base = model.get_base_model()  # pyright: ignore[reportCallIssue]
        layers = [base.get_submodule(path) for path in config.sites]
        structure = structure_of([layer for layer in layers if isinstance(layer, SspLinear)], adapter)
        sizes = [size for site in config.sites.values() for size in config.sizes(site)]
        kept = kept_candidates(structure.flatten().tolist(), sizes, config.budget)
        return _final_plan(config, dict(zip(config.sites, zip(kept[::2], kept[1::2], strict=True), strict=True)))


def _final_plan(config: SspConfig, kept: dict[str, tuple[bool, bool]]) -> dict[str, Any]:
    """The config's JSON with the kept candidates; places and layers that keep nothing are left out."""
    layers = []
    for layer in config.layers:
        found = [(module, *kept[f"{layer['path']}.{module['module']}"]) for module in layer["modules"]]
        modules = [{**module, "lora": lora, "bias": bias} for module, lora, bias in found if lora or bias]
        if modules:
            layers.append({"path": layer["path"], "modules": modules})
    names = [module["module"].rpartition(".")[2] for layer in layers for module in layer["modules"]]
    return {
        "peft_type": config.type_name,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": config.base_model_name_or_path or "",
        "inference_mode": True,
        "format_version": FORMAT_VERSION,
        "requires": config.requires,
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "budget": None,
        "temperature": config.temperature,
        "target_modules": list(dict.fromkeys(names)),
        "hidden_size": config.hidden_size,
        "layers": layers,
    }
