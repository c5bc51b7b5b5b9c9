"""LoRA, DoRA and AdaLoRA in our training session are PEFT's own, step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from milora.checkpoint import attach_adapter, save_adapter
from milora.data import Dataset, TokenRow
from milora.training import TrainingSession, TrainingSettings, data_loss, load_training, save_training
from milora.tuners import build_config

STEPS = 20
RATE = 1e-2
SCHEDULE = {"tinit": 2, "tfinal": 6, "deltaT": 3, "total_step": STEPS}
METHODS = ["lora", "dora", "adalora"]
Build = Callable[..., Any]


@pytest.fixture
def plan(lora_plan: Build, adalora_plan: Build) -> Build:
    def make(base: Any, method: str) -> dict[str, Any]:
        if method == "adalora":
            return adalora_plan(base, **SCHEDULE)
        return lora_plan(base, use_dora=method == "dora")

    return make


@pytest.fixture
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(7)
    lengths = [(6, 3), (6, 3), (6, 3), (6, 3), (6, 3), (6, 3), (6, 3), (6, 3)]

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, 96, (count,), generator=generator).tolist())

    return Dataset(tuple(TokenRow(ids(prompt), ids(answer)) for prompt, answer in lengths), "")


def batches(step: int) -> list[int]:
    return [(step + offset) % 8 for offset in (0, 3, 5)]


def trainables(model: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def by_plain_peft(base: Any, config: dict[str, Any], dataset: Dataset) -> dict[str, Tensor]:
    """PEFT's documented loop: the model's own loss, AdamW, clipping, the budget between update and clearing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        fields = build_config({**config, "inference_mode": False})
        fields.base_model_name_or_path = None
        model: Any = get_peft_model(base, fields)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.01, fused=True)
    model.train()
    for step in range(1, STEPS + 1):
        rows = dataset.take(batches(step))
        ids = torch.tensor([[*row.prompt_ids, *row.answer_ids] for row in rows])
        labels = ids.clone()
        labels[:, :6] = -100
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if config["peft_type"] == "ADALORA":
            model.base_model.update_and_allocate(step)
        optimizer.zero_grad()
    return trainables(model)


def session_of(base: Any, config: dict[str, Any]) -> Any:
    model = attach_adapter(base, config, "default", seed=5)
    return TrainingSession(model, "default", TrainingSettings(weight_decay=0.01), pad_id=0)


def train(session: TrainingSession, dataset: Dataset, steps: range, budget: bool) -> None:
    for step in steps:
        session.step(dataset, batches(step), RATE, "weights", budget_step=step if budget else None)


def check_equal_steps(base: Callable[[], Any], config: dict[str, Any], dataset: Dataset) -> None:
    expected = by_plain_peft(base(), config, dataset)
    session = session_of(base(), config)
    start = trainables(session.model)
    train(session, dataset, range(1, STEPS + 1), config["peft_type"] == "ADALORA")
    actual = trainables(session.model)
    assert set(actual) == set(expected)
    for name, value in expected.items():
        # Measured: bit for bit. A head at fewer positions may add up in another order on another machine.
        assert torch.allclose(actual[name], value, rtol=0, atol=1e-6), name
    assert max(float((value - start[name]).abs().max()) for name, value in expected.items()) > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_our_steps_are_pefts_own_loop(method: str, tiny_model: Build, plan: Build, dataset: Dataset) -> None:
    check_equal_steps(lambda: tiny_model("llama"), plan(tiny_model("llama"), method), dataset)


def test_so_they_are_on_a_real_model(smollm2: Path, plan: Build, dataset: Dataset) -> None:
    """AdaLoRA alone, of which there is most to go wrong: half a minute on one core."""

    def base() -> Any:
        return AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)

    check_equal_steps(base, plan(base(), "adalora"), dataset)


def kept_values(model: Any) -> int:
    """Singular values that are not pruned to zero."""
    return sum(int((p != 0).sum()) for name, p in model.named_parameters() if "lora_E" in name)


def test_adalora_ends_at_its_budget_and_resumes_across_it(
    tiny_model: Build, plan: Build, dataset: Dataset, tmp_path: Path
) -> None:
    config = plan(tiny_model("llama"), "adalora")
    straight = session_of(tiny_model("llama"), config)
    train(straight, dataset, range(1, STEPS + 1), budget=True)
    assert kept_values(straight.model) == 2 * 7 * 3
    for stop in (5, 14, 16):
        first = session_of(tiny_model("llama"), config)
        train(first, dataset, range(1, stop + 1), budget=True)
        # Saving must not touch what goes on training.
        save_adapter(first.model, "default", tmp_path / f"adapter-{stop}")
        save_training(first, tmp_path / f"state-{stop}")
        second = session_of(tiny_model("llama"), config)
        load_training(second, tmp_path / f"state-{stop}")
        train(second, dataset, range(stop + 1, STEPS + 1), budget=True)
        expected, actual = trainables(straight.model), trainables(second.model)
        assert [name for name in expected if not torch.equal(expected[name], actual[name])] == []


def test_the_orthogonality_term_is_in_no_dev_loss(tiny_model: Build, plan: Build, dataset: Dataset) -> None:
    session = session_of(tiny_model("llama"), plan(tiny_model("llama"), "adalora"))
    term = session.hooks.extra_loss(session.model, "default")
    assert term is not None
    assert float(term) > 0.1
    session.step(dataset, batches(1), 0.0, "weights", budget_step=1)
    loss = session.figures()[0].loss
    dev = data_loss(
        session.model,
        dataset,
        batches(1),
        context=None,
        records=False,
        micro_batch=2,
        pad_id=0,
        on_step=lambda done, of: None,
    )
    with session.model.disable_adapter():
        rows = dataset.take(batches(1))
        ids = torch.tensor([[*row.prompt_ids, *row.answer_ids] for row in rows])
        labels = ids.clone()
        labels[:, :6] = -100
        plain = session.model.get_base_model()(input_ids=ids, labels=labels).loss
    # At the start every singular value is zero, so the loss is the base model's.
    assert loss == pytest.approx(float(plain), rel=1e-5)
    assert dev.nll / dev.answer_tokens == pytest.approx(float(plain), rel=1e-5)
