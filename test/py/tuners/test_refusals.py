"""What cannot be right is refused, with an error that says what was found and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import DynamicCache, PreTrainedModel

from milora.checkpoint import attach_adapter
from milora.errors import MiloraError
from milora.routing.context import routing_context
from milora.tuners import build_config

IDS = torch.arange(2, 14)[None]


@pytest.fixture
def base(tiny_model: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    return tiny_model("llama")


@pytest.fixture
def plan(base: PreTrainedModel, milora_plan: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return milora_plan(base)


@pytest.fixture
def model(base: PreTrainedModel, plan: dict[str, Any], randomize: Callable[..., None]) -> Any:
    attached = attach_adapter(base, plan, "default")
    randomize(attached, "default")
    return attached.eval()


def refused(code: str, pattern: str) -> Any:
    """Expects a MiloraError of this code whose message matches."""
    return pytest.raises(MiloraError, match=pattern, check=lambda error: error.code == code)


def test_merge(model: Any) -> None:
    for merge in (model.merge_adapter, model.merge_and_unload):
        with refused("adapter/unsupported", "cannot be merged.*depends on the prompt.*unload"):
            merge()
    assert model(input_ids=IDS).logits.shape == (1, 12, 96)


def test_chunked_prefill(model: Any) -> None:
    with refused("adapter/unsupported", "prefill_chunk_size=4.*whole prompt"):
        model.generate(input_ids=IDS, max_new_tokens=2, prefill_chunk_size=4)
    config = model.generation_config.__class__(prefill_chunk_size=4, max_new_tokens=2)
    with refused("adapter/unsupported", "prefill_chunk_size=4"):
        model.generate(input_ids=IDS, generation_config=config)


def test_adapter_names(model: Any) -> None:
    with refused("adapter/unsupported", "adapter_names"):
        model(input_ids=IDS, adapter_names=["default"])
    with refused("adapter/unsupported", "adapter_names"):
        model.generate(input_ids=IDS, max_new_tokens=2, adapter_names=["default"])
    assert model.generate(input_ids=IDS, max_new_tokens=2).shape == (1, 14)


def test_reentrant_checkpointing(model: Any) -> None:
    model.get_base_model().gradient_checkpointing_enable({"use_reentrant": True})
    model.train()
    with refused("adapter/unsupported", "use_reentrant"):
        model(input_ids=IDS, labels=IDS.clone().index_fill(1, torch.arange(6), -100), use_cache=False)


def test_a_cache_without_a_decision(model: Any) -> None:
    with model.disable_adapter(), torch.no_grad():
        cache = model(input_ids=IDS, use_cache=True).past_key_values
    with refused("adapter/unsupported", "no routing decision.*empty cache"):
        model(input_ids=IDS[:, :1], past_key_values=cache)
    with refused("adapter/unsupported", "no routing decision"):
        model.generate(input_ids=torch.cat([IDS, IDS[:, :1]], dim=1), past_key_values=cache, max_new_tokens=2)


def test_a_cache_of_another_adapter_or_batch(model: Any, plan: dict[str, Any]) -> None:
    with torch.no_grad():
        cache = model(input_ids=IDS, use_cache=True).past_key_values
        cache.batch_repeat_interleave(2)
        with refused("adapter/unsupported", "decision of 1 rows, the forward pass has 2"):
            model(input_ids=IDS[:, :1].repeat(2, 1), past_key_values=cache)
        other = model(input_ids=IDS, use_cache=True).past_key_values
        attach_adapter(model, plan, "second")
        with refused("adapter/unsupported", "no routing decision of adapter 'second'"):
            model(input_ids=IDS[:, :1], past_key_values=other)


def test_an_unknown_prompt(model: Any) -> None:
    decoder = model.get_base_model().model
    with refused("adapter/unsupported", "outside the causal language model"):
        decoder(input_ids=IDS)
    four_d = torch.zeros(1, 1, 12, 12)
    with refused("adapter/unsupported", "4 dimensions.*context.prompt"):
        model(input_ids=IDS, attention_mask=four_d)
    with refused("adapter/unsupported", "mark no token as its prompt"):
        model(input_ids=IDS, labels=IDS)
    context = routing_context(model)
    assert context is not None
    with context.prompt(torch.ones(1, 5, dtype=torch.bool)), refused("adapter/unsupported", r"shape \(1, 5\)"):
        model(input_ids=IDS)
    # The error before does not stick.
    assert model(input_ids=IDS, past_key_values=DynamicCache()).logits.shape == (1, 12, 96)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mlp", "module or parameter of the model has this name"),
        ("0", "module or parameter of the model has this name"),
        ("q_proj", "module or parameter of the model has this name"),
        ("weight", "module or parameter of the model has this name"),
        ("prompt_router", "module or parameter of the model has this name"),
        ("prompt", "part of milora_prompt_"),
        ("lora", "part of milora_prompt_"),
        ("my.adapter", "other characters"),
        ("", "other characters"),
        ("keys", "torch's containers"),
    ],
)
def test_adapter_names_that_peft_cannot_hold(
    base: PreTrainedModel, plan: dict[str, Any], lora_plan: Callable[..., dict[str, Any]], name: str, reason: str
) -> None:
    for config in (plan, lora_plan(base)):
        with refused("adapter/bad-name", reason):
            attach_adapter(base, config, name)
    if name:
        # PEFT's own door refuses too: the tuner checks.
        with refused("adapter/bad-name", reason):
            get_peft_model(base, build_config(plan), adapter_name=name)
    assert not any("milora" in key for key in base.state_dict())


def test_an_adapter_name_in_use(model: Any, plan: dict[str, Any]) -> None:
    with refused("adapter/bad-name", "already has an adapter"):
        attach_adapter(model, plan, "default")


def test_a_plan_for_another_model(
    plan: dict[str, Any], tiny_model: Callable[..., PreTrainedModel], model: Any
) -> None:
    plan = {**plan, "base_model_name_or_path": "the-right-model"}
    with refused(
        "adapter/mismatch", r"'default'.*self_attn\.k_proj: found 32 -> 16, expected.*32 -> 32.*the-right-model"
    ):
        attach_adapter(tiny_model("qwen3"), plan, "default")
    with refused("adapter/mismatch", r"self_attn\.q_proj: found no such module"):
        attach_adapter(tiny_model("phi3"), plan, "default")
    deeper = {**plan, "layers": [*plan["layers"], {**plan["layers"][0], "path": "model.layers.9"}]}
    with refused("adapter/mismatch", r"model\.layers\.9: found no such layer"):
        attach_adapter(model, deeper, "second")
    assert list(model.peft_config) == ["default"]
    assert model(input_ids=IDS).logits.shape == (1, 12, 96)


def test_another_method_on_the_same_model(model: Any, lora_plan: Callable[..., dict[str, Any]]) -> None:
    with refused("adapter/unsupported", "'default' of type"):
        attach_adapter(model, {**lora_plan(model.get_base_model()), "target_modules": ["q_proj"]}, "second")


@pytest.mark.parametrize(
    ("changes", "code", "pattern"),
    [
        ({"format_version": 2, "new_field": 1}, "adapter/unreadable", "format version 2.*reads version 1"),
        ({"new_field": 1}, "adapter/unreadable", "unknown fields: new_field"),
        ({"peft_type": "MILORA"}, "adapter/unreadable", "'MILORA'.*MILORA_PROMPT"),
        ({"top_k": 8}, "adapter/mismatch", r"top_k is 8.*has 7 experts"),
        ({"gate": "soft"}, "adapter/mismatch", "gate is 'soft'.*scaled"),
        ({"layers": []}, "adapter/mismatch", "layers is empty"),
        ({"layers": [{"path": "model.layers.0"}]}, "adapter/mismatch", r"layers\[0\]"),
        ({"hidden_size": 0}, "adapter/mismatch", "hidden_size is 0"),
    ],
)
def test_configs_that_are_not_ours(plan: dict[str, Any], changes: dict[str, Any], code: str, pattern: str) -> None:
    with refused(code, pattern):
        build_config({**plan, **changes})


def test_a_config_without_a_version_and_an_unknown_field_of_lora(
    base: PreTrainedModel, plan: dict[str, Any], lora_plan: Callable[..., dict[str, Any]]
) -> None:
    with refused("adapter/unreadable", "no format_version"):
        build_config({name: value for name, value in plan.items() if name != "format_version"})
    with refused("adapter/unreadable", "unknown fields: rank"):
        build_config({**lora_plan(base), "rank": 4})
