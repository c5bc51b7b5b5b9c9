"""MOELoRA in training: its balance loss counts tokens, whatever the micro-batch and the padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from milora.checkpoint import attach_adapter
from milora.data import Dataset
from milora.training import TrainingSession, TrainingSettings
from milora.training.optimizer import GroupOptimizer

LENGTHS = [(9, 3), (4, 2), (12, 4), (5, 6)]
SETTINGS = {"r": 8, "lora_alpha": 8.0, "experts": 4, "top_k": 2}


@pytest.fixture
def start(
    tiny_model: Callable[..., Any], planned: Callable[..., Any], randomize: Callable[..., None]
) -> Callable[..., TrainingSession]:
    def make(micro_batch: int, balance: float = 0.5) -> TrainingSession:
        base = tiny_model("llama").double()
        config = planned(base, "MILORA_MOELORA", only=["q", "down"], **SETTINGS)
        model = attach_adapter(base, config, "default")
        randomize(model, "default")
        settings = TrainingSettings(micro_batch=micro_batch, balance=balance, max_gradient_norm=None)
        return TrainingSession(model, "default", settings, pad_id=0)

    return make


def gradients(session: TrainingSession, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def capture(group: GroupOptimizer, learning_rate: float, after_update: object = None) -> Tensor:
        seen.update({name: p.grad.clone() for name, p in group.parameters.items() if p.grad is not None})
        return torch.zeros(())

    with monkeypatch.context() as patch:
        patch.setattr(GroupOptimizer, "step", capture)
        session.step(dataset, range(len(LENGTHS)), 1e-3, "weights")
    return seen


def test_a_step_does_not_depend_on_the_micro_batch(
    start: Callable[..., TrainingSession], random_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = random_dataset(LENGTHS)
    whole, parts = start(4), start(1)
    expected, actual = (gradients(session, dataset, monkeypatch) for session in (whole, parts))
    assert set(expected) == set(actual)
    for name, gradient in expected.items():
        assert torch.allclose(actual[name], gradient, rtol=0, atol=1e-12), name
    one, other = whole.figures()[0], parts.figures()[0]
    assert one.balance == pytest.approx(other.balance, rel=1e-6)
    assert one.balance is not None
    assert one.balance >= 1


def test_the_balance_loss_is_that_of_the_real_tokens(
    start: Callable[..., TrainingSession], random_dataset: Callable[..., Dataset]
) -> None:
    session, dataset = start(4), random_dataset(LENGTHS)
    session.step(dataset, range(len(LENGTHS)), 0.0, "weights")
    counts: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    model: Any = session.model
    base = model.get_base_model()
    layers = {name: module for name, module in base.named_modules() if hasattr(module, "milora_moelora_router")}

    def look(name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            p = torch.softmax(args[0][0] @ module.milora_moelora_router["default"].T, dim=-1)
            counts[name] = counts.get(name, 0) + torch.bincount(p.argmax(dim=-1), minlength=4)
            sums[name] = sums.get(name, 0) + p.sum(dim=0)

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in layers.items()]
    with torch.no_grad():
        for row in dataset.take(range(len(LENGTHS))):
            base(input_ids=torch.tensor([[*row.prompt_ids, *row.answer_ids]]), use_cache=False)
    for handle in handles:
        handle.remove()
    tokens = sum(prompt + answer for prompt, answer in LENGTHS)
    losses = [4 * float((counts[name] / tokens * sums[name] / tokens).sum()) for name in layers]
    assert session.figures()[0].balance == pytest.approx(sum(losses) / len(losses), rel=1e-6)


def test_the_balance_loss_pulls_on_the_routers(
    start: Callable[..., TrainingSession], random_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = random_dataset(LENGTHS)
    with_it = gradients(start(4, balance=0.5), dataset, monkeypatch)
    without = gradients(start(4, balance=0.0), dataset, monkeypatch)
    # The last layer's pull goes to its own router; earlier layers' experts feel it through the states.
    routers = [name for name in with_it if "router" in name]
    assert routers
    assert all(not torch.allclose(with_it[name], without[name]) for name in routers)
