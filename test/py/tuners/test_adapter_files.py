"""An adapter's folder: stable, whole or absent, and read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

import milora
import milora.checkpoint.adapter as adapter_module
from milora.checkpoint import attach_adapter, read_adapter, save_adapter
from milora.errors import MiloraError

METHODS = ["milora", "lora"]
IDS = torch.arange(2, 14)[None]


@pytest.fixture
def build(
    tiny_model: Callable[..., PreTrainedModel],
    milora_plan: Callable[..., dict[str, Any]],
    lora_plan: Callable[..., dict[str, Any]],
    randomize: Callable[..., None],
) -> Callable[..., PeftModel]:
    def make(method: str, name: str = "default", **changes: Any) -> PeftModel:
        base = tiny_model("llama")
        plan = milora_plan(base, **changes) if method == "milora" else {**lora_plan(base), **changes}
        model = attach_adapter(base, {**plan, "base_model_name_or_path": "a-model"}, name)
        randomize(model, name)
        return model

    return make


def mutate(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("method", METHODS)
def test_round_trip_under_another_name_is_exact(build: Callable[..., PeftModel], tmp_path: Path, method: str) -> None:
    model = build(method, "first")
    size = save_adapter(model, "first", tmp_path / "a")
    assert size == sum(file.stat().st_size for file in (tmp_path / "a").iterdir())
    config, tensors = read_adapter(tmp_path / "a")
    assert config["base_model_name_or_path"] == "a-model"
    assert config["inference_mode"] is True
    fresh = build(method, "own")
    again = attach_adapter(fresh, config, "second", tensors)
    assert again.active_adapters == ["second"]
    with torch.no_grad():
        assert torch.equal(again(input_ids=IDS).logits, model.eval()(input_ids=IDS).logits)
    assert not any(parameter.requires_grad for name, parameter in again.named_parameters() if "second" in name)
    save_adapter(again, "second", tmp_path / "b")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_config_file_keeps_the_plan_and_its_order(build: Callable[..., PeftModel], tmp_path: Path) -> None:
    milora.save(build("milora", top_k=3, gate="probability"), tmp_path / "a")
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert list(config)[:6] == [
        "peft_type",
        "task_type",
        "base_model_name_or_path",
        "inference_mode",
        "format_version",
        "requires",
    ]
    expected_modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert config["target_modules"] == expected_modules
    assert (config["top_k"], config["gate"], config["format_version"]) == (3, "probability", 1)
    assert config["layers"][1]["experts"][6] == {
        "name": "down",
        "module": "mlp.down_proj",
        "in_features": 48,
        "out_features": 32,
        "rank": 4,
        "alpha": 4.0,
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda tensors: tensors.update(extra=torch.ones(1)), r"Unexpected: extra \[1\]"),
        (lambda tensors: tensors.pop(sorted(tensors)[-1]), r"Missing: base_model\..*layers\.2.*\[\d"),
        (
            lambda tensors: tensors.update({sorted(tensors)[0]: torch.ones(3, 5)}),
            r"base_model\..*found shape \[3, 5\], expected",
        ),
    ],
)
def test_strict_keys(
    build: Callable[..., PeftModel],
    tiny_model: Callable[..., PreTrainedModel],
    tmp_path: Path,
    method: str,
    change: Callable[[dict[str, Tensor]], None],
    pattern: str,
) -> None:
    milora.save(build(method), tmp_path / "a")
    mutate(tmp_path / "a", change)
    base = tiny_model("llama")
    with pytest.raises(MiloraError, match=pattern, check=lambda error: error.code == "adapter/mismatch"):
        milora.load(base, tmp_path / "a")
    assert list(base.state_dict()) == list(tiny_model("llama").state_dict())
    carrier = build(method, "own")
    with torch.no_grad():
        expected = carrier.eval()(input_ids=IDS).logits
        with pytest.raises(MiloraError, match=pattern):
            milora.load(carrier, tmp_path / "a")
        assert list(carrier.peft_config) == ["own"]
        assert torch.equal(carrier(input_ids=IDS).logits, expected)


def test_folders_that_cannot_be_read(build: Callable[..., PeftModel], tmp_path: Path) -> None:
    def expect(code: str, pattern: str) -> None:
        with pytest.raises(MiloraError, match=pattern, check=lambda error: error.code == code):
            read_adapter(tmp_path / "a")

    expect("adapter/not-found", "There is no adapter folder")
    milora.save(build("milora"), tmp_path / "a")
    weights, config = (tmp_path / "a" / "adapter_model.safetensors", tmp_path / "a" / "adapter_config.json")
    whole, text = weights.read_bytes(), config.read_text()
    for length in (len(whole) - 1, len(whole) // 2, 20, 4, 0):
        weights.write_bytes(whole[:length])
        expect("adapter/unreadable", f"{length} bytes.*truncated")
    weights.unlink()
    expect("adapter/not-found", "has no adapter_model.safetensors")
    weights.write_bytes(whole)
    config.write_text(text[:-20])
    expect("adapter/unreadable", "not valid JSON")
    config.write_text(text.replace('"format_version": 1', '"format_version": 2'))
    expect("adapter/unreadable", "adapter_config.json: .*format version 2")
    config.write_text("[]")
    expect("adapter/unreadable", "JSON object")
    config.write_text(text)
    read_adapter(tmp_path / "a")


def test_a_failed_save_leaves_the_last_one_whole(
    build: Callable[..., PeftModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, randomize: Callable[..., None]
) -> None:
    model = build("milora")
    milora.save(model, tmp_path / "a")
    before = {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir()}
    randomize(model, "default", seed=9)

    def full_disk(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(adapter_module, "save_file", full_disk)
        with pytest.raises(MiloraError, match="No space left", check=lambda error: error.code == "run/disk"):
            milora.save(model, tmp_path / "a")
    assert {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir()} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    milora.save(model, tmp_path / "a")
    assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() != before["adapter_model.safetensors"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_saving_an_adapter_that_is_not_there(build: Callable[..., PeftModel], tmp_path: Path) -> None:
    with pytest.raises(MiloraError, match="no adapter 'other'; it has default"):
        milora.save(build("milora"), tmp_path / "a", "other")
    assert list(tmp_path.iterdir()) == []
