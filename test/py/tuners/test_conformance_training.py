"""What every row of the matrix (``conftest.py``) keeps in training and on disk: one test a trap, with its fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import milora
from milora.checkpoint import attach_adapter, read_adapter
from milora.data import Dataset, TokenRow
from milora.errors import MiloraError
from milora.routing.context import routing_context
from milora.training import TrainingSession, TrainingSettings, load_training, save_training
from milora.tuners import split_parameters

LENGTHS = [(9, 3), (4, 2), (12, 4)]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(3)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, 96, (count,), generator=generator).tolist())

    return Dataset(tuple(TokenRow(ids(prompt), ids(answer)) for prompt, answer in LENGTHS), "")


def prompts(dataset: Dataset) -> dict[str, Tensor]:
    longest = max(prompt for prompt, _ in LENGTHS)
    rows = [list(row.prompt_ids) for row in dataset.take(range(len(LENGTHS)))]
    return {
        "input_ids": torch.tensor([[0] * (longest - len(ids)) + ids for ids in rows]),
        "attention_mask": torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in rows]),
    }


def logits(model: Any, dataset: Dataset) -> Tensor:
    with torch.no_grad():
        return model.eval()(**prompts(dataset)).logits


def values(parameters: dict[str, torch.nn.Parameter]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def moments(group: Any) -> dict[str, Tensor]:
    if group.adamw is None:
        return {}
    names = {id(parameter): name for name, parameter in group.parameters.items()}
    return {
        f"{names[id(parameter)]}/{key}": value.clone()
        for parameter, state in group.adamw.state.items()
        for key, value in state.items()
    }


def test_a_saved_adapter_gives_the_same_logits_on_a_fresh_base(case: Any, dataset: Dataset, tmp_path: Path) -> None:
    """Trap 10: an adapter saved empty, or zero."""
    model = case.model()
    expected = logits(model, dataset)
    milora.save(model, tmp_path / "a")
    again = milora.load(case.base(), tmp_path / "a", "other")
    assert torch.equal(logits(again, dataset), expected)
    assert not torch.allclose(logits(case.base(), dataset), expected, atol=1e-3)
    config, tensors = read_adapter(tmp_path / "a")
    if case.routed:
        plan = case.plan(case.base())
        # Without a name of the base PEFT writes null; its version is its own affair.
        assert {**config, "base_model_name_or_path": "", "peft_version": ""} == {**plan, "peft_version": ""}
    broken = dict(tensors)
    removed = sorted(broken)[len(broken) // 2]
    del broken[removed]
    with pytest.raises(MiloraError, match="Missing") as caught:
        attach_adapter(case.base(), config, "other", broken)
    assert removed in caught.value.message


def test_steps_move_every_trainable_over_a_bfloat16_base(case: Any, dataset: Dataset) -> None:
    """Trap 11: trainables in bf16 stay where they are at a small learning rate."""
    base = case.base().to(torch.bfloat16)
    model = attach_adapter(base, case.plan(base), "default")
    case.randomize(model, "default")
    omega, theta = split_parameters(model, "default")
    assert {parameter.dtype for parameter in (*omega.values(), *theta.values())} == {torch.float32}
    session = TrainingSession(model, "default", TrainingSettings(weight_decay=0.1, balance=0.01), pad_id=0)
    before = values(omega)
    session.step(dataset, range(len(LENGTHS)), 1e-4, "weights")
    assert moved(before, values(omega)) == set(omega)
    before = values(theta)
    if not case.learns_activation:
        with pytest.raises(MiloraError, match="activation"):
            session.step(dataset, range(len(LENGTHS)), 1e-6, "activation")
        assert theta == {}
        return
    session.step(dataset, range(len(LENGTHS)), 1e-6, "activation")
    assert moved(before, values(theta)) == set(theta)
    figures = session.figures()
    assert all(figure.loss is not None for figure in figures)
    assert all((figure.balance is not None) == case.learned for figure in figures)


def test_an_expert_that_no_prompt_chose_moves_by_decay_and_momentum_alone(case: Any, dataset: Dataset) -> None:
    """Trap 12: it has the gradient zero, in every variant, and AdamW treats it so."""
    model = case.model()
    context = routing_context(model)
    rows = range(len(LENGTHS))
    omega, _ = split_parameters(model, "default")
    idle: set[str] = set()
    if case.routed and context is not None:
        with context.record() as record:
            logits(model, dataset)
        layers = case.plan(case.base())["layers"]
        for layer, counts in zip(layers, record.chosen_counts().tolist(), strict=True):
            unchosen = [expert for expert, count in zip(layer["experts"], counts, strict=True) if count == 0]
            paths = [f"{layer['path']}.{expert['module']}." for expert in unchosen]
            idle |= {name for name in omega if any(path in name for path in paths)}
        few = case.settings.get("top_k", 2) == 1 or case.settings.get("chosen", "all") != "all"
        assert idle or not few, "every expert was chosen: the test is blind"
    for decay in (0.0, 0.1):
        session = TrainingSession(model, "default", TrainingSettings(weight_decay=decay), pad_id=0)
        before = values(omega)
        session.step(dataset, rows, 1e-3, "weights")
        routers = {name for name in omega if "prompt_router" in name}
        closed = case.closed(model)
        assert closed or not case.searches, "every gate was drawn open: the test is blind"
        expected = set(omega) - idle - closed if decay == 0 else set(omega)
        assert moved(before, values(omega)) - routers == expected - routers


def test_the_two_optimisers_do_not_touch_each_other(case: Any, dataset: Dataset) -> None:
    """Trap 13: a Θ step leaves Ω's values, gradients and moments alone, and the other way round."""
    model = case.model()
    session = TrainingSession(model, "default", TrainingSettings(balance=0.01), pad_id=0)
    omega, theta = split_parameters(model, "default")
    groups = {"weights": (session.weights, omega), "activation": (session.activation, theta)}
    kinds: list[Any] = ["weights", "activation", "weights"] if theta else ["weights"]
    for kind in kinds:
        (other, other_parameters) = groups["activation" if kind == "weights" else "weights"]
        kept, kept_moments = values(other_parameters), moments(other)
        own = values(groups[kind][1])
        session.step(dataset, range(len(LENGTHS)), 1e-3, kind)
        assert moved(own, values(groups[kind][1]))
        assert moved(kept, values(other_parameters)) == set()
        after = moments(other)
        assert set(after) == set(kept_moments)
        assert moved(kept_moments, after) == set()
        assert [name for name, parameter in other_parameters.items() if parameter.grad is not None] == []


def test_four_steps_are_two_a_resume_and_two_more(case: Any, dataset: Dataset, tmp_path: Path) -> None:
    """Trap 9, for every method, with what it keeps besides its parameters."""
    scheduled = case.settings.get("method") == "adalora"

    def start() -> TrainingSession:
        model = attach_adapter(case.base(), case.plan(case.base()), "default", seed=2)
        return TrainingSession(model, "default", TrainingSettings(micro_batch=2, balance=0.01, seed=3), pad_id=0)

    def train(session: TrainingSession, steps: range) -> TrainingSession:
        for step in steps:
            rows = [(step + offset) % len(LENGTHS) for offset in (0, 1)]
            session.step(dataset, rows, 1e-2, "weights", budget_step=step if scheduled else None)
            if case.learns_activation:
                session.step(dataset, rows, 1e-3, "activation")
        return session

    straight = train(start(), range(1, 5))
    save_training(train(start(), range(1, 3)), tmp_path / "state")
    resumed = start()
    load_training(resumed, tmp_path / "state")
    train(resumed, range(3, 5))
    expected, actual = ({**s.weights.parameters, **s.activation.parameters} for s in (straight, resumed))
    assert set(expected) == set(actual)
    assert [name for name in expected if not torch.equal(expected[name], actual[name])] == []
    assert moved(values(start().weights.parameters), values(straight.weights.parameters))


def test_an_adapter_starts_from_another_ones_weights(case: Any, dataset: Dataset, tmp_path: Path) -> None:
    """A warm start trains on from loaded weights; with ``trains="router"`` the experts never move."""
    milora.save(case.model(), tmp_path / "a")
    config, tensors = read_adapter(tmp_path / "a")
    expected = logits(case.model(), dataset)
    warm = attach_adapter(case.base(), config, "default", tensors, trainable=True)
    assert torch.equal(logits(warm, dataset), expected)
    omega, theta = split_parameters(warm, "default")
    trainable = {name for name, parameter in warm.named_parameters() if parameter.requires_grad}
    assert trainable == {*omega, *theta}
    if not case.learned:
        with pytest.raises(MiloraError, match="no routers that could be trained"):
            attach_adapter(case.base(), config, "default", tensors, trainable=True, trains="router")
        return
    model = attach_adapter(case.base(), config, "default", tensors, trainable=True, trains="router")
    # What PEFT does when an adapter is activated again.
    model.set_adapter("default")
    with model.disable_adapter():
        pass
    routers, theta = split_parameters(model, "default")
    assert routers
    assert all("prompt_router" in name for name in (*routers, *theta))
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable == {*routers, *theta}
    session = TrainingSession(model, "default", TrainingSettings(weight_decay=0.1, balance=0.1), pad_id=0)
    session.step(dataset, range(len(LENGTHS)), 1e-2, "weights")
    milora.save(model, tmp_path / "b")
    _, after = read_adapter(tmp_path / "b")
    changed = moved(tensors, after)
    assert changed
    assert all("prompt_router" in key for key in changed)
    assert set(after) == set(tensors)


def test_right_padding_routes_as_left_padding(
    case: Any, dataset: Dataset, record_gates: Callable[..., Tensor]
) -> None:
    if not case.routed:
        return
    model = case.model()
    left = prompts(dataset)
    counts = left["attention_mask"].sum(dim=1)
    right = {name: torch.zeros_like(value) for name, value in left.items()}
    for row, count in enumerate(counts.tolist()):
        for name in left:
            right[name][row, :count] = left[name][row, -count:]
    gates = record_gates(model, **left)
    assert torch.allclose(record_gates(model, **right), gates, atol=1e-5)
    if case.learned and case.settings.get("gate") != "none":
        assert not torch.allclose(gates[0], gates[1], atol=1e-2), "all prompts route alike: the test is blind"
