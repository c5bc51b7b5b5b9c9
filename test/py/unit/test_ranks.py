"""A step that ranks share is the step of one process: 20 steps of four methods, at one, two and four ranks.

The ranks are forked processes joined by gloo. Rows have different numbers of answer tokens, and a step of three rows
leaves one of four ranks without any.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as distributed
from safetensors.torch import load_file, save_file
from torch import Tensor

from milora.checkpoint import attach_adapter
from milora.data import Dataset
from milora.errors import MiloraError, OtherRankError
from milora.models import shard_base
from milora.routing.context import routing_context
from milora.training import (
    JoinedRanks,
    Ranks,
    TrainingSession,
    TrainingSettings,
    data_loss,
    load_training,
    save_training,
)
from milora.training.batching import deal
from milora.training.ranks import ALONE
from milora.tuners import split_parameters

STEPS = 20
LENGTHS = [(9, 3), (4, 1), (12, 8), (5, 2), (7, 13), (3, 5), (6, 0), (11, 1), (8, 2)]
BATCHES = [[0, 1, 2, 3, 4, 5, 6, 7], [8, 4, 2], [5, 1, 0, 7, 3]]
MOELORA = {"r": 8, "lora_alpha": 8.0, "experts": 4, "top_k": 2}
METHODS = ["milora", "lora", "moelora", "adalora", "midora", "dora"]

Build = Callable[..., Any]
Work = Callable[[Ranks], dict[str, Tensor]]


@pytest.fixture
def start(
    tiny_model: Build, milora_plan: Build, lora_plan: Build, adalora_plan: Build, planned: Build, randomize: Build
) -> Callable[..., TrainingSession]:
    def make(method: str, ranks: Ranks = ALONE, **changes: Any) -> TrainingSession:
        base = tiny_model("llama").requires_grad_(False)
        if ranks.lockstep:
            shard_base(base, torch.device("cpu"))
        configs: dict[str, Callable[[], dict[str, Any]]] = {
            "milora": lambda: milora_plan(base, **changes),
            "midora": lambda: milora_plan(base, expert="dora", **changes),
            "lora": lambda: lora_plan(base, **changes),
            "dora": lambda: lora_plan(base, use_dora=True, **changes),
            "adalora": lambda: adalora_plan(base, total_step=STEPS, **changes),
            "moelora": lambda: planned(base, "MILORA_MOELORA", only=["q", "down"], **MOELORA, **changes),
        }
        model = attach_adapter(base, configs[method](), "default", seed=1)
        randomize(model, "default", scale=0.1)
        settings = TrainingSettings(micro_batch=2, balance=0.1, weight_decay=0.01)
        return TrainingSession(model, "default", settings, pad_id=0, ranks=ranks)

    return make


@pytest.fixture
def forked(tmp_path: Path) -> Callable[[int, Work], list[dict[str, Tensor]]]:
    """What each of ``count`` ranks gives."""

    def make(count: int, work: Work, *, lockstep: bool = False) -> list[dict[str, Tensor]]:
        def member(index: int) -> None:
            torch.set_num_threads(1)
            meeting = f"file://{tmp_path}/store-{count}"
            distributed.init_process_group("gloo", init_method=meeting, rank=index, world_size=count)
            save_file(work(JoinedRanks(lockstep=lockstep)), tmp_path / f"{count}-{index}.safetensors")
            distributed.destroy_process_group()

        processes = [multiprocessing.get_context("fork").Process(target=member, args=(i,)) for i in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=300)
            if process.exitcode is None:
                process.kill()
        assert [process.exitcode for process in processes] == [0] * count
        return [load_file(tmp_path / f"{count}-{index}.safetensors") for index in range(count)]

    return make


def train(session: TrainingSession, method: str, dataset: Dataset, first: int = 0, last: int = STEPS) -> None:
    for step in range(first, last):
        budget = step + 1 if method == "adalora" else None
        session.step(dataset, BATCHES[step % len(BATCHES)], 1e-3, "weights", budget_step=budget)
        if method in ("milora", "midora"):
            session.step(dataset, BATCHES[(step + 1) % len(BATCHES)], 1e-4, "activation")


def result(session: TrainingSession, dataset: Dataset) -> dict[str, Tensor]:
    """Every trained number, and the figures of every step and of the data."""
    figures = session.figures()
    context = routing_context(session.model)
    settings = {"micro_batch": 2, "pad_id": 0, "on_step": lambda _done, _of: None, "ranks": session.ranks}
    loss = data_loss(session.model, dataset, range(len(LENGTHS)), context=context, records=False, **settings)
    omega, theta = split_parameters(session.model, "default")
    return {
        **{name: parameter.detach().contiguous() for name, parameter in {**omega, **theta}.items()},
        "figure.loss": torch.tensor([step.loss for step in figures]),
        "figure.balance": torch.tensor([step.balance or 0.0 for step in figures]),
        "figure.norm": torch.tensor([step.gradient_norm for step in figures]),
        "figure.tokens": torch.tensor([[step.tokens, step.answer_tokens] for step in figures]),
        "dev.loss": torch.tensor(loss.nll / loss.answer_tokens, dtype=torch.float64),
        "dev.tokens": torch.tensor(loss.answer_tokens),
    }


@pytest.mark.parametrize("lockstep", [False, True], ids=["replicate", "shard"])
@pytest.mark.parametrize("method", METHODS)
def test_twenty_steps_do_not_depend_on_the_ranks(
    method: str, lockstep: bool, start: Build, forked: Build, random_dataset: Build
) -> None:
    dataset = random_dataset(LENGTHS)

    def work(ranks: Ranks) -> dict[str, Tensor]:
        session = start(method, ranks)
        train(session, method, dataset)
        return result(session, dataset)

    expected = work(ALONE)
    assert expected["figure.loss"][0] != expected["figure.loss"][-3]
    if method in ("milora", "midora", "moelora"):
        assert (expected["figure.balance"] >= 0.999).all()
    # DoRA divides by norms: gradients that are above 1 round by more.
    relative = 1e-6 if method in ("midora", "dora") else 0
    for count in (2,) if lockstep and method != "milora" else (2, 4):
        first, *others = forked(count, work, lockstep=lockstep)
        assert set(first) == set(expected)
        for name, value in expected.items():
            assert torch.allclose(first[name], value, rtol=relative, atol=1e-6), (count, name)
            # The optimiser steps identically on each rank: the last bit too.
            assert all(torch.equal(other[name], first[name]) for other in others), (count, name)


def test_every_row_has_one_rank_and_the_shares_are_alike(random_dataset: Build) -> None:
    lengths = [(3 + 5 * index % 97, index % 4) for index in range(120)] + [(300, 9)]
    rows = random_dataset(lengths).take(range(len(lengths)))

    shares = deal(rows, 8, 4)
    dealt = [id(row) for groups in shares for group in groups for row in group]
    assert sorted(dealt) == sorted(id(row) for row in rows if row.answer_ids)
    assert all(len(group) <= 8 for groups in shares for group in groups)
    padded = [sum(len(group) * max(row.length for row in group) for group in groups) for groups in shares]
    tokens = sum(row.length for row in rows if row.answer_ids)
    assert max(padded) < 1.1 * sum(padded) / 4
    assert sum(padded) < 1.25 * tokens


def test_some_experts_are_chosen_on_one_rank_only(start: Build, random_dataset: Build) -> None:
    session, dataset = start("milora"), random_dataset(LENGTHS)
    context: Any = routing_context(session.model)
    rows = [row for row in dataset.take(BATCHES[0]) if row.answer_ids]

    def chosen(index: int) -> Tensor:
        with torch.no_grad(), context.record() as record:
            counts = []
            for row in itertools.chain.from_iterable(deal(rows, 2, 2)[index]):
                session.model(input_ids=torch.tensor([row.prompt_ids]))
                counts.append(record.chosen_counts())
        return torch.stack(counts).sum(dim=0) > 0

    assert (chosen(0) ^ chosen(1)).any()


def test_a_checkpoint_goes_on_at_any_number_of_ranks(
    start: Build, forked: Build, random_dataset: Build, tmp_path: Path
) -> None:
    dataset = random_dataset(LENGTHS)
    dropout = {"lora_dropout": 0.2}

    def whole(ranks: Ranks) -> dict[str, Tensor]:
        session = start("milora", ranks, **dropout)
        train(session, "milora", dataset, last=2)
        save_training(session, tmp_path / "state")
        train(session, "milora", dataset, first=2, last=4)
        return result(session, dataset)

    def resumed(ranks: Ranks) -> dict[str, Tensor]:
        session = start("milora", ranks, **dropout)
        load_training(session, tmp_path / "state")
        train(session, "milora", dataset, first=2, last=4)
        return result(session, dataset)

    expected = forked(2, whole)
    (tmp_path / "store-2").unlink(missing_ok=True)
    again = forked(2, resumed)
    weights = [name for name in expected[0] if not name.startswith(("figure.", "dev."))]
    # The same number of ranks: bit for bit, dropout too.
    assert all(torch.equal(again[0][name], expected[0][name]) for name in weights)
    # Another number: dropout is drawn anew, so the numbers differ, and every rank still has the same.
    alone = resumed(ALONE)
    assert not all(torch.equal(alone[name], expected[0][name]) for name in weights)
    assert (alone["figure.loss"] - expected[0]["figure.loss"][-4:]).abs().max() < 0.5
    first, *others = forked(4, resumed)
    assert all(torch.equal(other[name], first[name]) for other in others for name in weights)


def test_where_one_rank_fails_all_stop_and_nothing_has_moved(
    start: Build, forked: Build, random_dataset: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = random_dataset(LENGTHS)

    def work(ranks: Ranks) -> dict[str, Tensor]:
        session = start("milora", ranks)
        before = {name: parameter.detach().clone() for name, parameter in session.weights.parameters.items()}
        with monkeypatch.context() as patch:
            if ranks.index == 1:

                def fails(*_arguments: object) -> None:
                    raise MiloraError("memory/exhausted", "no memory")

                patch.setattr("milora.training.step_loss.answer_nll", fails)
            with pytest.raises(MiloraError) as caught:
                train(session, "milora", dataset, last=1)
        assert isinstance(caught.value, OtherRankError) == (ranks.index != 1)
        assert caught.value.code == ("memory/exhausted" if ranks.index == 1 else "scale/lost")
        assert all(torch.equal(before[name], value) for name, value in session.weights.parameters.items())
        # The group goes on.
        train(session, "milora", dataset, last=2)
        return result(session, dataset)

    expected = start("milora")
    train(expected, "milora", dataset, last=2)
    found = forked(2, work)
    for name, parameter in expected.weights.parameters.items():
        assert torch.allclose(found[0][name], parameter, rtol=0, atol=1e-6), name
