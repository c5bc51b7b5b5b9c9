"""Shared fixtures: tiny random models, plans for them, and a real small model where it is at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import milora  # noqa: F401  (registers the adapter type)

# Tiny models: threads would only wait for each other.
torch.set_num_threads(1)

VOCABULARY = 96
HIDDEN = 32
NUM_LAYERS = 3
PAD = 0

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": NUM_LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "pad_token_id": PAD,
    "bos_token_id": 1,
    "eos_token_id": None,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}

_BUILDERS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_SIZES, num_key_value_heads=4)),
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(**_SIZES, num_key_value_heads=2, head_dim=8, sliding_window=64, query_pre_attn_scalar=8)
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_SIZES, num_key_value_heads=2, head_dim=8)),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**_SIZES, num_key_value_heads=4)),
}

_SPLIT_MODULES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_FUSED_MODULES = {
    "qkv": "self_attn.qkv_proj",
    "o": "self_attn.o_proj",
    "gate_up": "mlp.gate_up_proj",
    "down": "mlp.down_proj",
}

_BLOCKS = {"attention": "self_attn", "ffn": "mlp"}

FAMILIES = tuple(_BUILDERS)


def build_tiny_model(family: str, seed: int = 0) -> PreTrainedModel:
    """A random model of three layers, in evaluation mode, float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _BUILDERS[family]()
    model.generation_config.pad_token_id = PAD
    return model.eval()


def _expert(name: str, module: str, linear: torch.nn.Linear, rank: int, alpha: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "module": module,
        "in_features": linear.in_features,
        "out_features": linear.out_features,
        "rank": rank,
        "alpha": float(rank) if alpha is None else alpha,
    }


def milora_config(
    model: PreTrainedModel,
    *,
    rank: int | dict[str, int] = 4,
    alpha: float | None = None,
    top_k: int = 2,
    activation: str | list[str] = "rational",
    chosen: list[list[str]] | str | None = None,
    only: Sequence[str] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """The plan that adapts the linear modules of a tiny model's layers.

    Args:
        model: The base.
        rank: One for all experts, or by name (else 4).
        alpha: One for all experts; by default each one's rank.
        top_k: Experts active in a layer.
        activation: One for all layers, or one a layer.
        chosen: The experts of each layer for policy ``fixed``; ``all``: all of them.
        only: Names of the experts; by default all modules.
        changes: Other fields of the config.
    """
    fused = model.config.model_type == "phi3"
    modules = _FUSED_MODULES if fused else _SPLIT_MODULES
    modules = {name: module for name, module in modules.items() if only is None or name in only}
    layers: list[dict[str, Any]] = []
    for index in range(model.config.num_hidden_layers):
        path = f"model.layers.{index}"
        experts = []
        for name, module in modules.items():
            linear = model.get_submodule(f"{path}.{module}")
            assert isinstance(linear, torch.nn.Linear)
            own_rank = rank.get(name, 4) if isinstance(rank, dict) else rank
            experts.append(_expert(name, module, linear, own_rank, alpha))
        layers.append(
            {
                "path": path,
                "activation": activation if isinstance(activation, str) else activation[index],
                "chosen": list(modules) if chosen == "all" else (None if chosen is None else chosen[index]),
                "experts": experts,
            }
        )
    return {
        "peft_type": "MILORA_PROMPT",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "",
        "inference_mode": True,
        "format_version": 1,
        "requires": "milora",
        "r": rank if isinstance(rank, int) else 4,
        "lora_alpha": float(rank if isinstance(rank, int) else 4) if alpha is None else alpha,
        "lora_dropout": 0.0,
        "expert": "lora",
        "policy": "learned" if chosen is None else "fixed",
        "target_modules": [module.rpartition(".")[2] for module in modules.values()],
        "top_k": top_k,
        "pooler": "self-attention",
        "gate": "scaled",
        "accumulate": "base",
        "router_input": "normalized",
        "hidden_size": model.config.hidden_size,
        "layers": layers,
        **changes,
    }


def adalora_config(model: PreTrainedModel, *, init_r: int = 4, **changes: Any) -> dict[str, Any]:
    """PEFT's AdaLoRA over the same modules: ten steps, of which four prune."""
    lora = lora_config(model)
    schedule = {"tinit": 2, "tfinal": 4, "deltaT": 1, "total_step": 10}
    sizes = {"init_r": init_r, "target_r": 2, "lora_alpha": float(init_r), "orth_reg_weight": 0.5}
    kept = ("task_type", "base_model_name_or_path", "inference_mode", "lora_dropout", "target_modules", "bias")
    return {"peft_type": "ADALORA", **{name: lora[name] for name in kept}, **sizes, **schedule, **changes}


def lora_config(model: PreTrainedModel, *, rank: int = 4, **changes: Any) -> dict[str, Any]:
    """PEFT's LoRA over the same modules."""
    modules = _FUSED_MODULES if model.config.model_type == "phi3" else _SPLIT_MODULES
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "",
        "inference_mode": True,
        "r": rank,
        "lora_alpha": float(rank),
        "lora_dropout": 0.0,
        "target_modules": [module.rpartition(".")[2] for module in modules.values()],
        "bias": "none",
        **changes,
    }


def planned_config(model: PreTrainedModel, peft_type: str, *, only: Sequence[str], **settings: Any) -> dict[str, Any]:
    """The plan of a method of ours on a tiny model.

    Args:
        model: The base.
        peft_type: The method's type.
        only: Names of the adapted modules, split or fused; or blocks: ``attention``, ``ffn``.
        settings: The method's fields; a dictionary ``place`` holds what every place has besides its name and size, a
            dictionary ``places`` what the place of a name has instead.
    """
    place, own = settings.pop("place", {}), settings.pop("places", {})
    modules = _FUSED_MODULES if model.config.model_type == "phi3" else _SPLIT_MODULES
    modules = {name: module for name, module in {**modules, **_BLOCKS}.items() if name in only}
    layers = []
    for index in range(model.config.num_hidden_layers):
        path = f"model.layers.{index}"
        places = []
        for name, module in modules.items():
            target = model.get_submodule(f"{path}.{module}")
            width = model.config.hidden_size
            sizes = {"in_features": width, "out_features": width}
            if isinstance(target, torch.nn.Linear):
                sizes = {"in_features": target.in_features, "out_features": target.out_features}
            places.append({"name": name, "module": module, **sizes, **place, **own.get(name, {})})
        layers.append({"path": path, "modules": places})
    return {
        "peft_type": peft_type,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "",
        "inference_mode": True,
        "format_version": 1,
        "requires": "milora",
        **settings,
        "target_modules": [module.rpartition(".")[2] for module in modules.values()],
        "hidden_size": model.config.hidden_size,
        "layers": layers,
    }


def randomize_adapter(model: torch.nn.Module, adapter: str, seed: int = 0, scale: float = 0.3) -> None:
    """Moves every parameter of an adapter off its start, so that outputs differ from the base model's."""
    from milora.tuners import split_parameters

    generator = torch.Generator().manual_seed(seed)
    omega, theta = split_parameters(model, adapter)
    with torch.no_grad():
        for parameter in omega.values():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(scale * noise.to(parameter))
        for parameter in theta.values():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(1e-4 * noise.to(parameter))


@pytest.fixture
def tiny_model() -> Callable[..., PreTrainedModel]:
    """:func:`build_tiny_model`: ``tiny_model("llama", seed=0)``."""
    return build_tiny_model


@pytest.fixture
def milora_plan() -> Callable[..., dict[str, Any]]:
    """:func:`milora_config`: ``milora_plan(model, top_k=2)``."""
    return milora_config


@pytest.fixture
def lora_plan() -> Callable[..., dict[str, Any]]:
    """:func:`lora_config`: ``lora_plan(model)``."""
    return lora_config


@pytest.fixture
def adalora_plan() -> Callable[..., dict[str, Any]]:
    """:func:`adalora_config`: ``adalora_plan(model)``."""
    return adalora_config


@pytest.fixture
def planned() -> Callable[..., dict[str, Any]]:
    """:func:`planned_config`: ``planned(model, "MILORA_BITFIT", only=["q"], vector=8)``."""
    return planned_config


@pytest.fixture
def randomize() -> Callable[..., None]:
    """:func:`randomize_adapter`: ``randomize(model, "default", seed=0)``."""
    return randomize_adapter


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct as a transformers checkpoint; skips where it is not at hand."""
    from milora.errors import MiloraError
    from milora.models.gguf import converted
    from milora.models.source import demo_file

    try:
        file = demo_file()
    except MiloraError as error:
        pytest.skip(error.message)
    return converted(file, lambda _done, _of: None)
