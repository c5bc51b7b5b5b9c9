"""A step is made without reading anything from the device."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from milora.checkpoint import attach_adapter
from milora.training import TrainingSession, TrainingSettings

LENGTHS = [(5, 1), (9, 7), (3, 2), (14, 4), (6, 11), (2, 1), (8, 3), (4, 5)]


class _Reads(TorchDispatchMode):
    """Names the operations that bring a number from the device to Python."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::nonzero"):
            self.found.append(func._schema.name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", ["llama", "phi3"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("method", ["lora", "milora"])
def test_gradients_are_made_on_a_device_that_has_no_numbers(
    tiny_model: Any,
    lora_plan: Any,
    milora_plan: Any,
    random_dataset: Any,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    attention: str,
    family: str,
) -> None:
    """On the meta device every read is an error, so what runs there would wait for no GPU either."""
    # The one thing that the device lacks besides numbers.
    monkeypatch.setattr(torch, "autocast", lambda *_args, **_settings: contextlib.nullcontext())
    base = tiny_model(family).requires_grad_(False)
    base.set_attn_implementation(attention)
    base.config.sliding_window = 6
    model = attach_adapter(base, (milora_plan if method == "milora" else lora_plan)(base), "tuned").to("meta")
    session = TrainingSession(model, "tuned", TrainingSettings(micro_batch=3, balance=0.1), pad_id=0)
    session.model.train()
    figures = session._accumulate(session._rows(random_dataset(LENGTHS), range(len(LENGTHS))), "weights")
    assert figures.loss is not None
    assert figures.loss.device.type == "meta"
    with pytest.raises(RuntimeError):
        figures.loss.item()
    assert all(gradient.device.type == "meta" for gradient in session.weights.take_gradients())


def test_an_update_reads_nothing(tiny_model: Any, lora_plan: Any, random_dataset: Any) -> None:
    base = tiny_model("llama").requires_grad_(False)
    session = TrainingSession(attach_adapter(base, lora_plan(base), "tuned"), "tuned", TrainingSettings(), pad_id=0)
    session._accumulate(session._rows(random_dataset(LENGTHS), range(len(LENGTHS))), "weights")
    with _Reads() as reads:
        norm = session.weights.step(1e-3)
    assert reads.found == []
    with reads:
        assert norm.item() > 0
    assert reads.found == ["aten::_local_scalar_dense"]


@pytest.mark.parametrize(("family", "method"), [("llama", "milora"), ("phi3", "milora"), ("llama", "soft tokens")])
def test_padding_that_no_token_sees_changes_nothing(
    tiny_model: Any,
    milora_plan: Any,
    planned: Any,
    random_dataset: Any,
    monkeypatch: pytest.MonkeyPatch,
    randomize: Any,
    family: str,
    method: str,
) -> None:
    """With and without the padding in sdpa's masks; alone in its batch a row has none."""
    base = tiny_model(family).requires_grad_(False)
    base.set_attn_implementation("sdpa")
    # So far back a Phi-3 looks; a Llama does not know the setting.
    base.config.sliding_window = 6
    soft = planned(base, "MILORA_P_TUNING_V2", only=["attention"], tokens=3, embedding=4)
    model = attach_adapter(base, milora_plan(base) if method == "milora" else soft, "tuned")
    randomize(model, "tuned")
    session = TrainingSession(model, "tuned", TrainingSettings(micro_batch=8), pad_id=0)
    name = base.config._attn_implementation
    own = ALL_MASK_ATTENTION_FUNCTIONS[name]

    def made() -> tuple[torch.Tensor, list[torch.Tensor]]:
        figures = session._accumulate(session._rows(random_dataset(LENGTHS), range(len(LENGTHS))), "weights")
        assert figures.loss is not None
        return figures.loss, session.weights.take_gradients()

    loss, gradients = made()
    assert ALL_MASK_ATTENTION_FUNCTIONS[name] is own
    monkeypatch.setattr("milora.training.session.right_padded", lambda _model: contextlib.nullcontext())
    masked_loss, masked_gradients = made()
    torch.testing.assert_close(loss, masked_loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients, masked_gradients, rtol=1e-4, atol=1e-6)
    session.micro_batch = 1
    torch.testing.assert_close(made()[0], loss, rtol=1e-6, atol=1e-6)
