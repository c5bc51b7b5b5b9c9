"""Learned-Adapter's search in a training session: alternating steps, prunings, a checkpoint, what it found trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from milora.checkpoint import attach_adapter
from milora.data import Dataset
from milora.errors import MiloraError
from milora.training import TrainingSession, TrainingSettings, load_training, save_training
from milora.tuners import count_parameters
from milora.tuners.learned_adapter import ARCHITECTURES, LearnedAdapterBlock

LENGTHS = [(5, 1), (9, 7), (3, 2), (8, 4), (6, 5), (2, 1)]
SKIP = ARCHITECTURES.index("skip")
BOTH = ("attention", "ffn")
Open = Callable[..., TrainingSession]


@pytest.fixture
def open_search(tiny_model: Callable[..., Any], planned: Callable[..., dict[str, Any]]) -> Open:
    """``open_search(only=["ffn"])``: a session at the start of a search."""

    def build(only: tuple[str, ...] = BOTH) -> TrainingSession:
        base = tiny_model("llama").requires_grad_(False)
        plan = planned(base, "MILORA_LEARNED_ADAPTER", only=only, bottleneck=4, place={"architecture": None})
        settings = TrainingSettings(micro_batch=3, seed=4)
        return TrainingSession(attach_adapter(base, plan, "found"), "found", settings, 0)

    return build


def blocks_of(session: TrainingSession) -> Iterator[LearnedAdapterBlock]:
    return (module for module in session.model.modules() if isinstance(module, LearnedAdapterBlock))


def left_of(session: TrainingSession) -> list[list[int]]:
    return [list(block.left["found"]) for block in blocks_of(session)]


def set_choice(block: LearnedAdapterBlock, others: float, skip: float) -> None:
    with torch.no_grad():
        choice = block.milora_learned_adapter_choice["found"]
        choice.fill_(others)
        choice[SKIP] = skip


def search(session: TrainingSession, dataset: Dataset, first: int, last: int) -> None:
    """Steps as the loop makes them: Ω, Θ, a pruning after each."""
    for step in range(first, last):
        rows = [step % 6, (step + 2) % 6, (step + 3) % 6, (step + 5) % 6]
        session.step(dataset, rows, 2e-2, "weights")
        session.step(dataset, rows[::-1], 5e-2, "activation")
        session.hooks.prune(session.model, "found")


def values(session: TrainingSession) -> dict[str, torch.Tensor]:
    groups = (session.weights, session.activation)
    return {name: parameter.detach().clone() for group in groups for name, parameter in group.parameters.items()}


def plan_of(session: TrainingSession) -> dict[str, Any]:
    return session.hooks.discretised(session.model, "found")


def chosen_in(plan: dict[str, Any]) -> dict[str, str]:
    return {
        f"{layer['path']}.{module['module']}": module["architecture"]
        for layer in plan["layers"]
        for module in layer["modules"]
    }


def test_a_step_moves_its_own_group_alone(open_search: Open, random_dataset: Callable[..., Dataset]) -> None:
    session, dataset = open_search(), random_dataset(LENGTHS)
    choices = set(session.activation.parameters)
    assert len(choices) == 6
    assert all(".milora_learned_adapter_choice." in name for name in choices)
    assert not any("choice" in name for name in session.weights.parameters)
    for kind in ("weights", "activation", "weights", "activation"):
        before = values(session)
        session.step(dataset, range(6), 2e-2, kind)
        moved = {name for name, value in values(session).items() if not torch.equal(value, before[name])}
        assert moved
        assert moved <= choices if kind == "activation" else not moved & choices


def test_a_search_goes_on_bit_for_bit_and_what_it_found_trains(
    open_search: Open,
    random_dataset: Callable[..., Dataset],
    tiny_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    dataset = random_dataset(LENGTHS)
    straight = open_search()
    search(straight, dataset, 0, 12)
    broken = open_search()
    search(broken, dataset, 0, 5)
    save_training(broken, tmp_path / "state")
    torch.manual_seed(99)
    resumed = open_search()
    load_training(resumed, tmp_path / "state")
    assert left_of(resumed) == left_of(broken)
    assert {len(left) for left in left_of(resumed)} == {13 - 5}
    search(resumed, dataset, 5, 12)
    expected, found = values(straight), values(resumed)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert {len(left) for left in left_of(straight)} == {1}
    plan = plan_of(straight)
    assert plan_of(resumed) == plan

    final = attach_adapter(tiny_model("llama").requires_grad_(False), plan, "found")
    chosen = chosen_in(plan).values()
    rationals = sum(name.endswith("rational") for name in chosen)
    counts = count_parameters(final, "found")
    assert counts == {"trainable": len(chosen) * 2 * 4 * 32 + 12 * rationals, "router": 0, "activation": 0}
    training = TrainingSession(final, "found", TrainingSettings(seed=4), 0)
    for _ in range(40):
        training.step(dataset, range(6), 2e-2, "weights")
    losses = [figures.loss for figures in training.figures()]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(MiloraError, match="nothing to search"):
        training.hooks.prune(final, "found")


def test_the_weakest_goes_and_of_several_the_last(open_search: Open) -> None:
    session = open_search()
    first, second, *_ = blocks_of(session)
    with torch.no_grad():
        first.milora_learned_adapter_choice["found"][4] = -1.0
    assert session.hooks.prune(session.model, "found") == 12
    assert set(range(13)) - set(first.left["found"]) == {4}
    assert set(range(13)) - set(second.left["found"]) == {SKIP}


def test_a_place_that_skips_leaves_the_plan(open_search: Open) -> None:
    session = open_search()
    for index, block in enumerate(blocks_of(session)):
        set_choice(block, 0.0, 1.0 if index in (0, 1, 3) else -1.0)
    while session.hooks.prune(session.model, "found") > 1:
        pass
    plan = plan_of(session)
    assert list(chosen_in(plan)) == ["model.layers.1.self_attn", "model.layers.2.self_attn", "model.layers.2.mlp"]
    assert [layer["path"] for layer in plan["layers"]] == ["model.layers.1", "model.layers.2"]
    assert plan["target_modules"] == ["self_attn", "mlp"]


@pytest.mark.parametrize("prunings", [0, 6, 12])
def test_where_all_would_skip_the_one_that_wants_it_least_does_not(
    open_search: Open, random_dataset: Callable[..., Dataset], prunings: int
) -> None:
    """By the weight, not by α: the first place has the smallest α of skip and the largest weight."""
    session, dataset = open_search(("ffn",)), random_dataset(LENGTHS)
    for block, (others, skip) in zip(blocks_of(session), [(-9.0, 0.0), (0.0, 2.0), (2.0, 6.0)], strict=True):
        set_choice(block, others, skip)
        with torch.no_grad():
            block.milora_learned_adapter_choice["found"][7] += 0.5
    for _ in range(prunings):
        session.hooks.prune(session.model, "found")
    before = values(session)
    session.step(dataset, range(6), 1e-3, "weights")
    session.step(dataset, range(6), 1e-6, "activation")
    assert any(not torch.equal(value, before[name]) for name, value in values(session).items())
    assert chosen_in(plan_of(session)) == {"model.layers.1.mlp": ARCHITECTURES[7]}
    assert session.hooks.prune(session.model, "found") == max(1, 12 - prunings)
