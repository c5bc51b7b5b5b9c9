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
        ("lora", "part of (milora_prompt_|lora_)"),
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


def test_names_that_begin_with_the_prefix_or_are_a_part_of_it(base: PreTrainedModel, plan: dict[str, Any]) -> None:
    for name in ("prompt", "milora_prompt_down"):
        with refused("adapter/bad-name", "part of milora_prompt_"):
            attach_adapter(base, plan, name)


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
        ({"activation": "rational"}, "adapter/unreadable", "unknown fields: activation"),
        ({"top_k": 8}, "adapter/mismatch", r"top_k is 8, but layers\[0\] \(model\.layers\.0\) has 7 experts"),
        ({"top_k": 0}, "adapter/mismatch", "top_k is 0; it must be a whole number of at least 1"),
        ({"top_k": 1.5}, "adapter/mismatch", "top_k is 1.5"),
        ({"gate": "soft"}, "adapter/mismatch", "gate is 'soft'; allowed: scaled, probability, none"),
        ({"pooler": "mean"}, "adapter/mismatch", "pooler is 'mean'; allowed: self-attention, average, max, last"),
        ({"expert": "ia3"}, "adapter/mismatch", "expert is 'ia3'; allowed: lora, dora"),
        ({"policy": "random"}, "adapter/mismatch", "policy is 'random'; allowed: learned, fixed"),
        ({"accumulate": "float64"}, "adapter/mismatch", "accumulate is 'float64'; allowed: base, float32"),
        ({"router_input": "normed"}, "adapter/mismatch", "router_input is 'normed'"),
        ({"lora_dropout": 1.0}, "adapter/mismatch", "lora_dropout is 1.0; allowed: 0 to 0.9"),
        ({"lora_alpha": 0}, "adapter/mismatch", "lora_alpha is 0; it must be above 0"),
        ({"r": 0}, "adapter/mismatch", "r is 0"),
        ({"layers": []}, "adapter/mismatch", "layers is empty"),
        (
            {"layers": [{"path": "model.layers.0"}]},
            "adapter/mismatch",
            r"layers\[0\] must have exactly the fields path",
        ),
        ({"hidden_size": 0}, "adapter/mismatch", "hidden_size is 0"),
        (
            {"target_modules": ["q_proj"]},
            "adapter/mismatch",
            "self_attn.k_proj ends in 'k_proj', which target_modules",
        ),
        (
            {"policy": "fixed"},
            "adapter/mismatch",
            r"layers\[0\] \(model\.layers\.0\)\.chosen is None; with policy 'fixed'",
        ),
    ],
)
def test_configs_that_are_not_ours(plan: dict[str, Any], changes: dict[str, Any], code: str, pattern: str) -> None:
    with refused(code, pattern):
        build_config({**plan, **changes})


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"path": "model.layers.0"}, r"layers\[1\] \(model\.layers\.0\) is named twice"),
        ({"path": ""}, r"layers\[1\]\.path is ''"),
        (
            {"activation": "tanh"},
            r"layers\[1\] \(model\.layers\.1\)\.activation is 'tanh'; allowed: rational, gelu, relu",
        ),
        ({"chosen": ["q"]}, r"layers\[1\] \(model\.layers\.1\)\.chosen is \['q'\]; with policy 'learned'"),
        ({"experts": []}, r"layers\[1\] \(model\.layers\.1\)\.experts is empty"),
        ({"experts": [{"name": "q"}]}, r"\.experts\[0\] must have exactly the fields name, module"),
    ],
)
def test_layers_that_contradict_themselves(plan: dict[str, Any], changes: dict[str, Any], pattern: str) -> None:
    plan["layers"][1] |= changes
    with refused("adapter/mismatch", pattern):
        build_config(plan)


@pytest.mark.parametrize(
    ("field", "value", "pattern"),
    [
        ("rank", 0, r"layers\[2\] \(model\.layers\.2\)\.experts\[3\]\.rank is 0"),
        ("rank", 2.5, r"experts\[3\]\.rank is 2.5"),
        ("alpha", -1, r"experts\[3\]\.alpha is -1"),
        ("name", "o proj", r"experts\[3\]\.name is 'o proj'"),
        ("name", "q", "experts: the name 'q' is there twice"),
        ("module", "self_attn.q_proj", "experts: the module 'self_attn.q_proj' is there twice"),
    ],
)
def test_experts_that_contradict_themselves(plan: dict[str, Any], field: str, value: object, pattern: str) -> None:
    plan["layers"][2]["experts"][3][field] = value
    with refused("adapter/mismatch", pattern):
        build_config(plan)


@pytest.mark.parametrize(
    ("chosen", "pattern"),
    [
        (["q", "w"], r"layers\[1\] \(model\.layers\.1\)\.chosen names 'w', which is no expert there; it has q, k"),
        (["q", "q"], r"layers\[1\] .*\.chosen names 'q' twice"),
        ("q", r"layers\[1\] .*\.chosen is 'q'; with policy 'fixed' it must list"),
    ],
)
def test_fixed_tables_that_do_not_fit(
    base: PreTrainedModel, milora_plan: Callable[..., dict[str, Any]], chosen: object, pattern: str
) -> None:
    plan = milora_plan(base, chosen=[["q"], [], ["down"]])
    plan["layers"][1]["chosen"] = chosen
    with refused("adapter/mismatch", pattern):
        build_config(plan)


def test_a_fixed_table_with_an_unknown_module(
    base: PreTrainedModel, milora_plan: Callable[..., dict[str, Any]]
) -> None:
    plan = milora_plan(base, chosen="all")
    plan["layers"][1]["experts"][0]["module"] = "self_attn.w_proj"
    plan["target_modules"].append("w_proj")
    with refused("adapter/mismatch", r"'default'.*model\.layers\.1\.self_attn\.w_proj: found no such module"):
        attach_adapter(base, plan, "default")


def test_what_trains(base: PreTrainedModel, plan: dict[str, Any], model: Any) -> None:
    trains: Any = "experts"
    with refused("adapter/unsupported", "trains is 'experts'; allowed: all, router"):
        attach_adapter(model, plan, "second", trains=trains)
    with refused("adapter/unsupported", "'second' is frozen"):
        attach_adapter(model, plan, "second", trainable=False, trains="router")
    assert list(model.peft_config) == ["default"]


def test_a_config_without_a_version_and_an_unknown_field_of_lora(
    base: PreTrainedModel, plan: dict[str, Any], lora_plan: Callable[..., dict[str, Any]]
) -> None:
    with refused("adapter/unreadable", "no format_version"):
        build_config({name: value for name, value in plan.items() if name != "format_version"})
    with refused("adapter/unreadable", "unknown fields: rank"):
        build_config({**lora_plan(base), "rank": 4})
