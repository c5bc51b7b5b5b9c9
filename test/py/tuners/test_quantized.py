"""Adapters on a base in 4 or 8 bits (QLoRA), where bitsandbytes is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM

from milora.checkpoint import attach_adapter, read_adapter, save_adapter
from milora.data import Dataset, TokenRow
from milora.errors import MiloraError
from milora.models import choose_placement
from milora.models.open import _load_weights
from milora.models.source import ModelSource
from milora.training import TrainingSession, TrainingSettings, load_training, save_training

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")

_SIZE = 64
_ROWS = Dataset(tuple(TokenRow(tuple(range(2, 8 + i)), tuple(range(10, 13))) for i in range(4)), "")
_METHODS = ["milora", "lora", "dora", "adalora", "moelora", "ssp-search"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose modules are wide enough for a block of NF4."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=_SIZE,
        intermediate_size=2 * _SIZE,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        initializer_range=0.2,
        tie_word_embeddings=False,
    )
    path = tmp_path_factory.mktemp("quantized") / "model"
    LlamaForCausalLM(config).save_pretrained(path)
    return path


def open_base(folder: Path, quantization: Any) -> Any:
    placement = choose_placement("cpu", "float32", "eager", quantization)
    source = ModelSource("tiny", "folder", str(folder))
    model = _load_weights(source, LlamaConfig.from_pretrained(folder), placement)
    return model.requires_grad_(False).eval()


def start(case: Any, folder: Path, quantization: str) -> TrainingSession:
    plan = case.plan(open_base(folder, "none"))
    model = attach_adapter(open_base(folder, quantization), plan, "default", seed=2)
    return TrainingSession(model, "default", TrainingSettings(seed=3), pad_id=0)


def train(session: TrainingSession, case: Any, steps: int) -> list[float | None]:
    for step in range(steps):
        budget = step + 1 if case.settings.get("method") == "adalora" else None
        session.step(_ROWS, range(4), 1e-2, "weights", budget_step=budget)
    return [figures.loss for figures in session.figures()]


@pytest.mark.parametrize(
    ("row", "quantization"),
    [(row, bits) for row in _METHODS for bits in ("nf4", "int8") if (row, bits) != ("dora", "int8")],
)
def test_a_quantised_base_is_trained_on_saved_and_resumed(
    row: str, quantization: str, make_case: Callable[[str], Any], folder: Path, tmp_path: Path
) -> None:
    case = make_case(f"{row}-llama")
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    session = start(case, folder, quantization)
    losses = train(session, case, 2)
    # An evaluation between the steps, as a run has them.
    with torch.no_grad():
        session.model.eval()(input_ids=ids)
    losses += train(session, case, 2)
    assert all(loss is not None for loss in losses)
    assert (losses[-1] or 0) < (losses[0] or 0)
    save_training(session, tmp_path / "state")
    expected = train(session, case, 2)
    resumed = start(case, folder, quantization)
    load_training(resumed, tmp_path / "state")
    assert train(resumed, case, 2) == expected
    assert isinstance(session.model, PeftModel)
    save_adapter(session.model, "default", tmp_path / "adapter")
    config, tensors = read_adapter(tmp_path / "adapter")
    again = attach_adapter(open_base(folder, quantization), config, "other", tensors)
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, session.model.eval()(input_ids=ids).logits)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_quantised_base_is_near_the_whole_one_and_smaller(folder: Path, quantization: str) -> None:
    whole, small = open_base(folder, "none"), open_base(folder, quantization)
    weight = small.get_submodule("model.layers.0.self_attn.q_proj").weight
    assert weight.numel() * weight.element_size() <= _SIZE * _SIZE * (0.5 if quantization == "nf4" else 1)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        expected, found = (model(input_ids=ids).logits for model in (whole, small))
    error = ((found - expected).norm() / expected.norm()).item()
    assert 0 < error < (0.5 if quantization == "nf4" else 0.1)


@pytest.mark.parametrize(("row", "quantization"), [("midora", "nf4"), ("midora", "int8"), ("dora", "int8")])
def test_norms_of_quantised_weights_are_refused(
    row: str, quantization: str, make_case: Callable[[str], Any], folder: Path
) -> None:
    with pytest.raises(MiloraError, match="quantised") as caught:
        start(make_case(f"{row}-llama"), folder, quantization)
    assert caught.value.code == "adapter/unsupported"
