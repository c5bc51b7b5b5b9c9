"""Learned-Adapter's part in training: the search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from milora.errors import MiloraError
from milora.tuners.base import MethodHooks, config_of
from milora.tuners.learned_adapter.config import ARCHITECTURES, SKIP, LearnedAdapterConfig
from milora.tuners.learned_adapter.layer import LearnedAdapterBlock


class LearnedAdapterHooks(MethodHooks):
    """Candidates are dropped one by one; at the end each place has one, and those that skip have gone."""

    def prune(self, model: nn.Module, adapter: str) -> int:
        """Drops the weakest candidate of each place; one place drops skip, where all would be left with it alone."""
        blocks = [block for _, block in _searched(model, adapter)]
        if all(len(block.left[adapter]) == 2 and block.best(adapter) == SKIP for block in blocks):
            # An adapter that does nothing has no gradient, and nothing to go on with.
            _least_skipping(blocks, adapter).left[adapter].remove(ARCHITECTURES.index(SKIP))
        return max(block.drop_weakest(adapter) for block in blocks)

    def discretised(self, model: nn.Module, adapter: str) -> dict[str, Any]:
        """The config with each place's best candidate; where all would skip, the one that wants it least does not."""
        blocks = dict(_searched(model, adapter))
        chosen = {path: block.best(adapter) for path, block in blocks.items()}
        if all(name == SKIP for name in chosen.values()):
            least = _least_skipping(list(blocks.values()), adapter)
            chosen[least.adapter_sites[adapter][1].path] = least.best(adapter, may_skip=False)
        config: LearnedAdapterConfig = config_of(model, adapter)
        layers = [
            {
                "path": layer["path"],
                "modules": [
                    {**module, "architecture": name}
                    for module in layer["modules"]
                    if (name := chosen[f"{layer['path']}.{module['module']}"]) != SKIP
                ],
            }
            for layer in config.layers
        ]
        layers = [layer for layer in layers if layer["modules"]]
        names = [module["module"].rpartition(".")[2] for layer in layers for module in layer["modules"]]
        kept = ("task_type", "base_model_name_or_path", "format_version", "requires", "bottleneck", "hidden_size")
        return {
            "peft_type": config.type_name,
            **{name: getattr(config, name) for name in kept},
            "inference_mode": True,
            "target_modules": list(dict.fromkeys(names)),
            "layers": layers,
        }

    def state(self, model: nn.Module, adapter: str) -> dict[str, Tensor]:
        """Which candidates are left, [places, architectures]."""
        left = [block.left[adapter] for _, block in _blocks(model, adapter) if adapter in block.left]
        if not left:
            return {}
        mask = torch.zeros(len(left), len(ARCHITECTURES), dtype=torch.bool)
        for row, indices in enumerate(left):
            mask[row, indices] = True
        return {"left": mask}

    def load_state(self, model: nn.Module, adapter: str, tensors: dict[str, Tensor]) -> None:
        """Puts the candidates back."""
        searched = [block for _, block in _blocks(model, adapter) if adapter in block.left]
        for block, row in zip(searched, tensors.get("left", torch.zeros(0)), strict=True):
            block.left[adapter] = row.nonzero().flatten().tolist()


def _blocks(model: nn.Module, adapter: str) -> Iterator[tuple[str, LearnedAdapterBlock]]:
    """The adapter's blocks by the path of their place."""
    for module in model.modules():
        if isinstance(module, LearnedAdapterBlock) and adapter in module.adapter_sites:
            yield module.adapter_sites[adapter][1].path, module


def _least_skipping(blocks: list[LearnedAdapterBlock], adapter: str) -> LearnedAdapterBlock:
    """The first of the blocks whose skip, which each of them has left, has the smallest weight."""
    # Not α: what it says of a place is relative to the place's other candidates.
    return min(blocks, key=lambda block: float(block.weights(adapter)[SKIP].detach()))


def _searched(model: nn.Module, adapter: str) -> list[tuple[str, LearnedAdapterBlock]]:
    found = [(path, block) for path, block in _blocks(model, adapter) if adapter in block.left]
    if not found:
        raise MiloraError(
            "adapter/unsupported", f"Adapter {adapter!r} has its architecture; there is nothing to search."
        )
    return found
