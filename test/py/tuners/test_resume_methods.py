"""Ten steps are five, a resume, and five more, bit for bit: every method, both optimisers, both orders of rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from milora.checkpoint import attach_adapter
from milora.data import Dataset, TokenRow
from milora.errors import MiloraError
from milora.training import TrainingSession, TrainingSettings, VirtualStep, load_training, save_training
from milora.tuners.methods import METHODS

# The row of the conformance matrix that stands for a method; one that searches is looked at while it does.
_ROWS = {
    "LORA": "lora",
    "ADALORA": "adalora",
    "MILORA_PROMPT": "milora",
    "MILORA_MOELORA": "moelora",
    "MILORA_PARALLEL_ADAPTER": "parallel-adapter",
    "MILORA_LEARNED_ADAPTER": "learned-search",
    "MILORA_P_TUNING_V2": "p-tuning-v2",
    "MILORA_IAPT": "iapt",
    "MILORA_BITFIT": "bitfit",
    "MILORA_IA3": "ia3",
    "MILORA_SSP": "ssp-search",
}
_MORE = ["midora", "dora", "k1", "learned-final", "ssp-final"]
_LENGTHS = [(5, 1), (9, 7), (3, 2), (14, 4), (6, 11), (2, 1), (8, 3), (4, 5)]


@pytest.fixture(scope="module")
def datasets() -> dict[str, Dataset]:
    generator = torch.Generator().manual_seed(3)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, 96, (count,), generator=generator).tolist())

    rows = {
        name: tuple(TokenRow(ids(prompt), ids(answer)) for prompt, answer in _LENGTHS) for name in ("train", "dev")
    }
    return {name: Dataset(tokens, "") for name, tokens in rows.items()}


def start(case: Any) -> TrainingSession:
    base = case.base()
    plan = case.plan(base)
    # Dropout makes every step draw random numbers, so a generator that is not restored shows.
    if "lora_dropout" in plan:
        plan["lora_dropout"] = 0.2
    model = attach_adapter(base, plan, "default", seed=2)
    settings = TrainingSettings(micro_batch=3, balance=0.01, weight_decay=0.01, lora_plus_ratio=1.0, seed=3)
    return TrainingSession(model, "default", settings, pad_id=0)


def train(session: TrainingSession, case: Any, datasets: dict[str, Dataset], steps: range) -> TrainingSession:
    budget = case.settings.get("method") == "adalora"
    for step in steps:
        # Python's and NumPy's generators take part, as they may in a method of one's own.
        rows = [random.randrange(8), int(numpy.random.randint(8)), step % 8]
        rate = 1e-2 / step
        session.step(datasets["train"], rows, rate, "weights", budget_step=step if budget else None)
        if session.activation.parameters:
            virtual = VirtualStep(datasets["train"], rows, rate) if step % 2 and not case.searches else None
            session.step(datasets["dev"], rows[::-1], 1e-3, "activation", virtual)
    return session


def everything(session: TrainingSession) -> dict[str, Tensor]:
    """Parameters and moments of both groups."""
    found: dict[str, Tensor] = {}
    for group in (session.weights, session.activation):
        for name, parameter in group.parameters.items():
            found[name] = parameter.detach()
            moments = group.adamw.state[parameter] if group.adamw is not None else {}
            found |= {f"{name}/{moment}": value for moment, value in moments.items()}
    return found


def test_every_method_has_its_row() -> None:
    assert set(_ROWS) == set(METHODS)


@pytest.mark.parametrize("row", [*_ROWS.values(), *_MORE])
def test_ten_steps_are_five_a_resume_and_five_more(
    row: str, make_case: Callable[[str], Any], datasets: dict[str, Dataset], tmp_path: Path
) -> None:
    case = make_case(f"{row}-llama")
    straight = everything(train(start(case), case, datasets, range(1, 11)))
    half = train(start(case), case, datasets, range(1, 6))
    before = {name: value.clone() for name, value in everything(half).items()}
    save_training(half, tmp_path / "state")
    resumed = start(case)
    # Whatever a new process draws before it loads the state must not matter.
    random.seed(91)
    numpy.random.seed(92)
    torch.manual_seed(93)
    load_training(resumed, tmp_path / "state")
    after = everything(train(resumed, case, datasets, range(6, 11)))
    assert set(after) == set(straight)
    assert [name for name in straight if not torch.equal(straight[name], after[name])] == []
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_state_over_another_base_is_refused(
    make_case: Callable[[str], Any], datasets: dict[str, Dataset], tmp_path: Path
) -> None:
    case = make_case("milora-llama")
    save_training(train(start(case), case, datasets, range(1, 2)), tmp_path / "state")
    other = start(case)
    with torch.no_grad():
        other.model.get_parameter("base_model.model.model.norm.weight")[0] += 0.5
    with pytest.raises(MiloraError, match="another base model") as caught:
        load_training(other, tmp_path / "state")
    assert caught.value.code == "run/not-resumable"


def test_a_state_fits_the_same_base_in_another_dtype_and_beside_other_adapters(
    make_case: Callable[[str], Any], datasets: dict[str, Dataset], tmp_path: Path
) -> None:
    case = make_case("milora-llama")
    save_training(train(start(case), case, datasets, range(1, 2)), tmp_path / "state")
    model = attach_adapter(case.base().to(torch.bfloat16), case.plan(case.base()), "default", seed=2)
    attach_adapter(model, case.plan(case.base(), **case.second), "tenant", seed=4)
    model.set_adapter("default")
    load_training(TrainingSession(model, "default", TrainingSettings(), pad_id=0), tmp_path / "state")
