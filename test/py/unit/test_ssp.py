"""A whole search and what follows it: alternating steps, a checkpoint inside, the kept adapter trained anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from milora.checkpoint import attach_adapter
from milora.data import Dataset
from milora.training import TrainingSession, TrainingSettings, VirtualStep, load_training, save_training
from milora.tuners import count_parameters

LENGTHS = [(5, 1), (9, 7), (3, 2), (8, 4), (6, 5), (2, 1)]
ONLY = ["q", "k", "v", "o", "gate", "up", "down"]
BUDGET = 2800
STEPS = 8


@pytest.fixture
def open_search(
    tiny_model: Callable[..., Any], planned: Callable[..., dict[str, Any]]
) -> Callable[[], TrainingSession]:
    def build() -> TrainingSession:
        base = tiny_model("llama").requires_grad_(False)
        settings = {"r": 4, "lora_alpha": 4.0, "temperature": 1.0, "budget": BUDGET}
        plan = planned(base, "MILORA_SSP", only=ONLY, **settings, place={"lora": True, "bias": True})
        return TrainingSession(
            attach_adapter(base, plan, "found"), "found", TrainingSettings(micro_batch=3, seed=4), 0
        )

    return build


def search(session: TrainingSession, dataset: Dataset, first: int, last: int) -> None:
    """Steps as the loop makes them; the last one of Θ is of second order."""
    for step in range(first, last):
        rows = [step % 6, (step + 2) % 6, (step + 3) % 6, (step + 5) % 6]
        session.step(dataset, rows, 2e-2, "weights")
        virtual = VirtualStep(dataset, rows, 2e-2) if step == last - 1 else None
        session.step(dataset, rows[::-1], 0.1, "activation", virtual)


def values(session: TrainingSession) -> dict[str, torch.Tensor]:
    groups = (session.weights, session.activation)
    return {name: parameter.detach().clone() for group in groups for name, parameter in group.parameters.items()}


def test_a_search_goes_on_bit_for_bit_and_what_it_keeps_trains(
    open_search: Callable[[], TrainingSession],
    random_dataset: Callable[..., Dataset],
    tiny_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    dataset = random_dataset(LENGTHS)
    straight = open_search()
    search(straight, dataset, 0, 5)
    search(straight, dataset, 5, STEPS)
    broken = open_search()
    search(broken, dataset, 0, 5)
    save_training(broken, tmp_path / "state")
    torch.manual_seed(99)
    resumed = open_search()
    load_training(resumed, tmp_path / "state")
    search(resumed, dataset, 5, STEPS)
    expected, found = values(straight), values(resumed)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    structure = torch.stack(list(straight.activation.parameters.values()))
    assert structure.detach().abs().min() > 0, "a candidate's α never moved"

    config = straight.hooks.discretised(straight.model, "found")
    assert resumed.hooks.discretised(resumed.model, "found") == config
    final = attach_adapter(tiny_model("llama").requires_grad_(False), config, "found")
    assert BUDGET - 32 < count_parameters(final, "found")["trainable"] <= BUDGET
    training = TrainingSession(final, "found", TrainingSettings(seed=4), 0)
    assert training.activation.num_parameters == 0
    for _ in range(40):
        training.step(dataset, range(6), 2e-2, "weights")
    losses = [figures.loss for figures in training.figures()]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < 0.5 * losses[0]


def test_a_search_finds_the_candidates_that_matter(
    open_search: Callable[[], TrainingSession], random_dataset: Callable[..., Dataset]
) -> None:
    """Candidates that are held at zero lose to those that lower the loss."""
    session = open_search()
    dataset = random_dataset(LENGTHS)
    held = [parameter for name, parameter in session.weights.parameters.items() if "layers.0" in name]
    for _ in range(40):
        session.step(dataset, range(6), 2e-2, "weights")
        with torch.no_grad():
            for parameter in held:
                parameter.zero_()
        session.step(dataset, range(6), 0.1, "activation")
    structure = {name: float(parameter.detach().mean()) for name, parameter in session.activation.parameters.items()}
    idle = [value for name, value in structure.items() if "layers.0" in name]
    live = [value for name, value in structure.items() if "layers.0" not in name]
    assert max(idle) < sum(live) / len(live)
    config = session.hooks.discretised(session.model, "found")
    assert "model.layers.0" not in [layer["path"] for layer in config["layers"]]
