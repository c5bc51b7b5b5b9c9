"""Finding, describing and opening models; each bad input is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
    T5Config,
)

from milora.errors import MiloraError
from milora.models import choose_attention, choose_placement, describe, open_model, resolve_source
from milora.models import source as source_module

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}
HEAD: dict[str, Any] = {"head_dim": 4}
SPLIT = [f"self_attn.{name}_proj" for name in "qkvo"] + [f"mlp.{name}_proj" for name in ("gate", "up", "down")]
FUSED = ["self_attn.o_proj", "self_attn.qkv_proj", "mlp.gate_up_proj", "mlp.down_proj"]


def placed():
    return choose_placement("cpu", "float32", "auto")


def folder_of(config: PretrainedConfig, folder: Path) -> str:
    config.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("config", "linears"),
    [
        (LlamaConfig(**SIZES), SPLIT),
        (MistralConfig(**SIZES), SPLIT),
        (Qwen2Config(**SIZES), SPLIT),
        (Qwen3Config(**SIZES, **HEAD), SPLIT),
        (GemmaConfig(**SIZES, **HEAD), SPLIT),
        (Gemma2Config(**SIZES, **HEAD), SPLIT),
        (Gemma3TextConfig(**SIZES, **HEAD), SPLIT),
        (SmolLM3Config(**SIZES), SPLIT),
        (Phi3Config(**SIZES), FUSED),
        (GPT2Config(n_embd=16, n_layer=2, n_head=4, vocab_size=64), []),
    ],
    ids=lambda value: value.model_type if isinstance(value, PretrainedConfig) else "",
)
def test_describe_needs_only_a_config(config: PretrainedConfig, linears: list[str], tmp_path):
    described = describe(resolve_source(folder_of(config, tmp_path / "model")))
    assert len(described.layers) == 2
    assert {linear.name for linear in described.layers[1].linears} == set(linears)
    assert described.layers[1].path.endswith(".1")
    assert described.model_type == config.model_type
    assert described.hidden_size == 16
    assert described.vocab_size == 64
    assert "lm_head" in described.other_linears
    if linears == SPLIT:
        shapes = {each.name: (each.in_features, each.out_features) for each in described.layers[0].linears}
        assert shapes["self_attn.k_proj"] == (16, 8)
        assert shapes["mlp.down_proj"] == (24, 16)
        assert described.context_length == 128
    biased = {linear.name for linear in described.layers[0].linears if linear.bias}
    assert biased == ({f"self_attn.{name}_proj" for name in "qkv"} if config.model_type == "qwen2" else set())


def test_describe_llama_2_7b_counts_its_parameters():
    folder = Path(__file__).parents[2] / "fixtures" / "configs" / "llama-2-7b"
    if not folder.is_dir():
        pytest.skip("no config of Llama-2 7B among the fixtures")
    described = describe(resolve_source(str(folder)))
    assert described.num_parameters == 6_738_415_616
    assert len(described.layers) == 32


def multimodal() -> Gemma3Config:
    vision: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    text = Gemma3TextConfig(**SIZES, **HEAD)
    return Gemma3Config(text_config=text.to_dict(), vision_config=vision, mm_tokens_per_image=4)


def test_a_multimodal_model_is_its_text_model(tmp_path, checkpoint):
    folder = tmp_path / "model"
    torch.manual_seed(0)
    whole = Gemma3ForConditionalGeneration(multimodal()).eval()
    whole.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, folder / name)
    source = resolve_source(str(folder))
    assert describe(source).architecture == "Gemma3ForCausalLM"
    opened = open_model(source, placed(), 0, lambda done, total: None)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        expected = whole(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        assert torch.allclose(opened.model(input_ids=ids).logits, expected, atol=1e-5)


def test_open_gives_a_frozen_model(checkpoint):
    opened = open_model(resolve_source(str(checkpoint)), placed(), 3, lambda done, total: None)
    assert not any(parameter.requires_grad for parameter in opened.model.parameters())
    assert not opened.model.training
    assert opened.context_length == 256
    assert opened.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("config", "device", "dtype", "expected"),
    [
        (LlamaConfig(), "cpu", torch.float32, "sdpa"),
        (LlamaConfig(), "cpu", torch.bfloat16, "eager"),
        (LlamaConfig(), "cpu", torch.float16, "eager"),
        (LlamaConfig(), "cuda", torch.bfloat16, "sdpa"),
        # Scores are capped, which sdpa cannot do.
        (Gemma2Config(), "cpu", torch.float32, "eager"),
        (Gemma2Config(), "cuda", torch.bfloat16, "eager"),
        (Gemma3TextConfig(), "cuda", torch.bfloat16, "sdpa"),
        (Gemma3TextConfig(attn_logit_softcapping=50.0), "cuda", torch.bfloat16, "eager"),
    ],
)
def test_attention_is_the_faster_one_that_the_model_has(config, device, dtype, expected):
    assert choose_attention("auto", config, torch.device(device), dtype) == expected
    assert choose_attention("sdpa", config, torch.device(device), dtype) == "sdpa"


def test_a_model_without_sdpa_has_eager_attention_unless_sdpa_was_asked_for(tmp_path, checkpoint, tiny_model, run_op):
    folder = tmp_path / "model"
    tiny_model("gemma2").save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, folder / name)
    source = resolve_source(str(folder))
    opened = open_model(source, placed(), 0, lambda done, total: None)
    assert opened.model.config._attn_implementation == opened.placement.attention == "eager"
    assert run_op("openModel", model=str(folder), device="cpu", dtype="float32")["attention"] == "eager"
    asked = choose_placement("cpu", "float32", "sdpa")
    with pytest.raises(MiloraError, match="scaled_dot_product_attention"):
        open_model(source, asked, 0, lambda done, total: None)


def refused(model: str, code: str) -> MiloraError:
    with pytest.raises(MiloraError) as caught:
        open_model(resolve_source(model), placed(), 0, lambda done, total: None)
    assert caught.value.code == code, caught.value.message
    return caught.value


def test_a_missing_folder_or_file(tmp_path):
    assert str(tmp_path / "no") in refused(str(tmp_path / "no"), "model/not-found").message
    refused("./no/such/folder", "model/not-found")
    refused("model.gguf", "model/not-found")


def test_a_hub_id_that_is_not_there(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    error = refused("nobody/no-such-model", "model/not-found")
    assert "HF_HUB_OFFLINE" in str(error.details["hint"])


def test_a_truncated_safetensors_file(own_checkpoint):
    file = own_checkpoint / "model.safetensors"
    content = file.read_bytes()
    for length in (len(content) - 1000, 100, 4):
        file.write_bytes(content[:length])
        error = refused(str(own_checkpoint), "model/unreadable")
        assert str(file) in error.message
        assert str(length) in error.message


def test_a_missing_shard(own_checkpoint):
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (own_checkpoint / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert "model-00001-of-00002.safetensors" in refused(str(own_checkpoint), "model/unreadable").message


def test_weights_that_are_no_safetensors(own_checkpoint):
    (own_checkpoint / "model.safetensors").rename(own_checkpoint / "pytorch_model.bin")
    error = refused(str(own_checkpoint), "model/unreadable")
    assert "pytorch_model.bin" in error.message
    assert "save_pretrained" in str(error.details["hint"])


def test_weights_of_another_shape(own_checkpoint):
    config = json.loads((own_checkpoint / "config.json").read_text(encoding="utf-8"))
    (own_checkpoint / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}), encoding="utf-8")
    assert "model.layers.2" in refused(str(own_checkpoint), "model/unreadable").message


def test_folders_that_are_no_causal_model(tmp_path, own_checkpoint):
    (own_checkpoint / "config.json").unlink()
    refused(str(own_checkpoint), "model/unreadable")
    (own_checkpoint / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert "base model" in str(refused(str(own_checkpoint), "model/unreadable").details["hint"])
    refused(folder_of(T5Config(), tmp_path / "t5"), "model/unsupported")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"model_type": "no-such-type"}', encoding="utf-8")
    refused(str(tmp_path / "odd"), "model/unsupported")


def test_the_demo_model_without_its_package(monkeypatch):
    monkeypatch.setattr(source_module, "_demo_package", "no_such_package")
    with pytest.raises(MiloraError) as caught:
        resolve_source("smollm2-135m")
    assert caught.value.code == "environment/missing-package"
    assert "demo" in str(caught.value.details["hint"])


def test_placement_says_why_and_refuses_absent_devices():
    automatic = choose_placement("auto", "auto", "auto")
    assert automatic.reason.endswith(".")
    assert choose_placement("cpu", "float16", "sdpa").attention == "sdpa"
    with pytest.raises(MiloraError, match="allowed: auto") as caught:
        choose_placement("cuda:99", "auto", "auto")
    assert caught.value.code == "input/invalid-spec"


def test_config_of_the_automatic_class_is_not_changed(tmp_path):
    folder = folder_of(LlamaConfig(**SIZES), tmp_path / "model")
    describe(resolve_source(folder))
    assert not hasattr(AutoConfig.from_pretrained(folder), "milora_text_part")
