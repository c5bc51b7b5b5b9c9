"""A decoder as its configuration describes it: layers and linear modules, on the meta device, without weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from milora.errors import MiloraError
from milora.models.config import load_config
from milora.models.gguf import cached_folder
from milora.models.source import ModelSource


@dataclass(frozen=True)
class LinearDescription:
    """A linear module; ``name`` is its path inside its layer."""

    name: str
    in_features: int
    out_features: int
    bias: bool


@dataclass(frozen=True)
class LayerDescription:
    """A decoder layer: its path inside the causal language model and its linear modules."""

    path: str
    linears: tuple[LinearDescription, ...]


@dataclass(frozen=True)
class ModelDescription:
    """What is known of a model before its weights are read.

    ``location`` is what ``from_pretrained`` takes: a hub id or an absolute folder; a GGUF file's converted folder.
    """

    model: str
    location: str
    architecture: str
    model_type: str
    hidden_size: int
    num_parameters: int
    vocab_size: int
    context_length: int | None
    layers: tuple[LayerDescription, ...]
    other_linears: tuple[str, ...]


def describe(source: ModelSource) -> ModelDescription:
    """Builds the model's modules without storage and lists its layers and linear modules.

    Raises:
        MiloraError: ``model/not-found``, ``model/unreadable`` or ``model/unsupported``.
    """
    config = load_config(source)
    model = _without_weights(source, config)
    path, layer_list = decoder_layers(model)
    layers = tuple(_describe_layer(f"{path}.{index}", layer) for index, layer in enumerate(layer_list))
    others = tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(f"{path}.")
    )
    return ModelDescription(
        model=source.name,
        location=str(cached_folder(Path(source.location))) if source.kind == "gguf" else source.location,
        architecture=type(model).__name__,
        model_type=str(config.model_type),
        hidden_size=int(config.hidden_size),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        vocab_size=int(config.vocab_size),
        context_length=context_length(config),
        layers=layers,
        other_linears=others,
    )


def decoder_layers(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The list of a model's decoder layers, with its path.

    Raises:
        MiloraError: ``model/unsupported`` where there is none.
    """
    # A layer's own lists (experts of a mixture, for instance) are part of the decoder's list, hence smaller.
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        found = type(model).__name__
        raise MiloraError("model/unsupported", f"{found} has no list of decoder layers.", found=found)
    return max(lists, key=lambda entry: sum(parameter.numel() for parameter in entry[1].parameters()))


def context_length(config: PretrainedConfig) -> int | None:
    """The longest sequence the positions of this model reach, where its configuration says."""
    length = getattr(config, "max_position_embeddings", None)
    return int(length) if isinstance(length, int) and length > 0 else None


def _without_weights(source: ModelSource, config: PretrainedConfig) -> PreTrainedModel:
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        message = f"The model {source.name} ({config.model_type}) cannot be built from its configuration: {error}"
        raise MiloraError("model/unsupported", message, found=str(config.model_type)) from error


def _describe_layer(path: str, layer: nn.Module) -> LayerDescription:
    linears = tuple(
        LinearDescription(name, module.in_features, module.out_features, module.bias is not None)
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    )
    return LayerDescription(path, linears)
