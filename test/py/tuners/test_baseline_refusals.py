"""What a baseline cannot do is refused with one code and a message that names the method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from milora.checkpoint import attach_adapter
from milora.errors import MiloraError

IDS = torch.arange(2, 14)[None]
OURS = ["ia3", "moelora", "parallel-adapter", "learned-search", "p-tuning-v2", "iapt", "bitfit", "ssp-final"]


def refused(code: str, pattern: str) -> Any:
    """Expects a MiloraError of this code whose message matches."""
    return pytest.raises(MiloraError, match=pattern, check=lambda error: error.code == code)


@pytest.mark.parametrize("variant", OURS)
def test_merging_and_batches_over_several_adapters(variant: str, make_case: Callable[[str], Any]) -> None:
    model = make_case(f"{variant}-llama").model()
    label = model.base_model.label
    for merge in (model.merge_adapter, model.merge_and_unload):
        with refused("adapter/unsupported", "cannot be merged into the base model: .*unload") as caught:
            merge()
        assert label in caught.value.message
    with refused("adapter/unsupported", "adapter_names"):
        model(input_ids=IDS, adapter_names=["default"])
    assert model(input_ids=IDS).logits.shape == (1, 12, 96)


@pytest.mark.parametrize("variant", ["p-tuning-v2", "iapt"])
def test_a_prefix_longer_than_the_context(variant: str, make_case: Callable[[str], Any]) -> None:
    case = make_case(f"{variant}-llama")
    base = case.base()
    with refused("input/invalid-spec", "method.tokens: found 512, but the model's context has room for 512 tokens"):
        attach_adapter(base, case.plan(base, tokens=512), "default")
    assert base.config._attn_implementation in ("sdpa", "eager")
    assert not any("milora" in key for key in base.state_dict())


def test_soft_tokens_need_an_attention_function_that_takes_them(make_case: Callable[[str], Any]) -> None:
    case = make_case("p-tuning-v2-llama")
    base = case.base()
    base.config._attn_implementation = "flex_attention"
    with refused("adapter/unsupported", "eager or sdpa; the model has 'flex_attention'"):
        attach_adapter(base, case.plan(base), "default")


@pytest.mark.parametrize("variant", ["p-tuning-v2", "iapt"])
def test_another_attention_function_would_leave_soft_tokens_out(variant: str, make_case: Callable[[str], Any]) -> None:
    model = make_case(f"{variant}-llama").model()
    model.get_base_model().set_attn_implementation("eager")
    with refused("adapter/unsupported", "changed to 'eager' after soft tokens were attached"):
        model(input_ids=IDS)
    with model.disable_adapter():
        assert model(input_ids=IDS).logits.shape == (1, 12, 96)


def test_what_the_prompt_must_be_whole_for(make_case: Callable[[str], Any]) -> None:
    """IAPT's soft tokens depend on the whole prompt, as MiLoRA's decisions do."""
    model = make_case("iapt-llama").model()
    with refused("adapter/unsupported", "prefill_chunk_size=4"):
        model.generate(input_ids=IDS, max_new_tokens=2, prefill_chunk_size=4)
    cache = DynamicCache()
    with model.disable_adapter(), torch.no_grad():
        model(input_ids=IDS, past_key_values=cache)
    with refused("adapter/unsupported", "no soft tokens of adapter 'default'.*empty cache"):
        model(input_ids=IDS[:, :1], past_key_values=cache)
    with torch.no_grad():
        used = model(input_ids=IDS, past_key_values=DynamicCache()).past_key_values
    with refused("adapter/unsupported", "cache that an earlier prompt filled"):
        model.generate(input_ids=torch.cat([IDS, IDS], dim=1), past_key_values=used, max_new_tokens=2)
    model.train().get_base_model().gradient_checkpointing_enable({"use_reentrant": True})
    with refused("adapter/unsupported", "Reentrant gradient checkpointing"):
        model(input_ids=IDS, labels=IDS, use_cache=False)


@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        ("bitfit", {"vector": 0}, "vector is 0"),
        ("moelora", {"r": 9}, "multiple of experts, 4"),
        ("moelora", {"top_k": 5}, "top_k is 5; allowed: 1 to experts, 4"),
        ("parallel-adapter", {"scale": 0}, "scale is 0; it must be above 0"),
        ("learned-final", {"place": {"architecture": "parallel-swish"}}, "architecture is 'parallel-swish'; allowed"),
        ("learned-final", {"place": {"architecture": None}}, "Some places have an architecture and some have none"),
        ("iapt", {"hidden_size": 0}, "hidden_size is 0"),
        ("bitfit", {"place": {"rank": 3}}, "must have exactly the fields"),
        ("ia3", {"layers": []}, "layers is empty"),
    ],
)
def test_a_config_that_contradicts_itself(
    variant: str, changes: dict[str, Any], message: str, make_case: Callable[[str], Any]
) -> None:
    case = make_case(f"{variant}-llama")
    base = case.base()
    top = {name: value for name, value in changes.items() if name in ("layers", "hidden_size")}
    plan = case.plan(base, **{name: value for name, value in changes.items() if name not in top}) | top
    with refused("adapter/mismatch", message):
        attach_adapter(base, plan, "default")


def test_a_newer_format_and_another_models_plan(make_case: Callable[[str], Any]) -> None:
    case = make_case("bitfit-llama")
    base = case.base()
    with refused("adapter/unreadable", "format version 2"):
        attach_adapter(base, case.plan(base) | {"format_version": 2}, "default")
    plan = case.plan(base)
    plan["layers"][1]["modules"][0]["out_features"] = 48
    plan["layers"][2]["path"] = "model.layers.9"
    with refused("adapter/mismatch", "found 32 -> 32, expected a linear module of 32 -> 48.") as caught:
        attach_adapter(base, plan, "default")
    assert "model.layers.9: found no such layer" in caught.value.message
