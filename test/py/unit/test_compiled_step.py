"""Compiled layers train as the layers themselves do, after a resume too; where they can't, it is said at the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._C._dynamo.eval_frame import reset_code
from torch._dynamo.utils import counters

from milora.checkpoint import attach_adapter
from milora.data import Dataset, TokenRow
from milora.errors import MiloraError
from milora.models import compiling
from milora.training import TrainingSession, TrainingSettings, load_training, save_training
from milora.training.recomputation import recompute_layers

LENGTHS = [(5, 1), (9, 7), (3, 2), (14, 4), (6, 11), (2, 1), (8, 3), (4, 5), (7, 2)]
# Micro-batches of several sizes and lengths.
STEPS = [[0, 1, 2, 3, 4, 5, 6, 7], [1, 4, 6, 8], [2, 5, 7, 0, 1, 3]]


@pytest.fixture
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(7)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, 96, (count,), generator=generator).tolist())

    return Dataset(tuple(TokenRow(ids(prompt), ids(answer)) for prompt, answer in LENGTHS), "")


Opens = Callable[..., TrainingSession]


@pytest.fixture
def opens(tiny_model: Any, milora_plan: Any, lora_plan: Any) -> Iterator[Opens]:
    """Sessions of one adapter, compiled or not, over models of their own."""

    def open_session(method: str, compiled: bool, recompute: bool = False) -> TrainingSession:
        base = tiny_model("llama").requires_grad_(False)
        base.set_attn_implementation("sdpa")
        plan = milora_plan(base, lora_dropout=0.2) if method == "milora" else lora_plan(base)
        model = attach_adapter(base, plan, "tuned", seed=1)
        recompute_layers(base, recompute)
        settings = TrainingSettings(micro_batch=4, balance=0.1, compile=compiled, seed=5)
        return TrainingSession(model, "tuned", settings, pad_id=0)

    torch.compiler.reset()
    yield open_session
    torch.compiler.reset()


def trained(session: TrainingSession, dataset: Dataset, steps: list[list[int]]) -> list[float]:
    """The losses of steps on each group of parameters."""
    for rows in steps:
        session.step(dataset, rows, 1e-2, "weights")
        if session.activation.parameters:
            session.step(dataset, rows[::-1], 1e-3, "activation")
    return [float("nan") if each.loss is None else each.loss for each in session.figures()]


def parameters(session: TrainingSession) -> dict[str, Tensor]:
    groups = (session.weights, session.activation)
    return {name: value.detach().clone() for group in groups for name, value in group.parameters.items()}


def test_recomputed_layers_train_as_the_plain_ones_over_few_graphs(opens: Opens, dataset: Dataset) -> None:
    expected = trained(opens("lora", False), dataset, STEPS)
    session = opens("lora", True, recompute=True)
    counters.clear()
    assert trained(session, dataset, STEPS) == pytest.approx(expected, abs=1e-5)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    assert trained(session, dataset, STEPS)[-1] < expected[0]
    assert counters["stats"]["unique_graphs"] == graphs
    assert not any("forward" in module.__dict__ for module in session.model.modules())


def test_routed_layers_do_too_and_a_resumed_training_ends_bit_for_bit_as_the_undisturbed_one(
    opens: Opens, dataset: Dataset, tmp_path: Path
) -> None:
    expected = trained(opens("milora", False), dataset, STEPS)
    straight = opens("milora", True)
    assert trained(straight, dataset, STEPS) == pytest.approx(expected, abs=1e-5)
    half = opens("milora", True)
    trained(half, dataset, STEPS[:1])
    save_training(half, tmp_path)
    # The resumed one meets other sizes first: its kernels must be the same ones all the same.
    torch.compiler.reset()
    resumed = opens("milora", True)
    load_training(resumed, tmp_path)
    before = parameters(resumed)
    trained(resumed, dataset, STEPS[1:])
    found, wanted = parameters(resumed), parameters(straight)
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []
    assert not all(torch.equal(before[name], found[name]) for name in found)


def test_what_compiles_nothing_is_refused_at_the_start(opens: Opens, tiny_model: Any, lora_plan: Any) -> None:
    base = tiny_model("llama").requires_grad_(False).to(torch.bfloat16)
    model = attach_adapter(base, lora_plan(base), "tuned")
    with pytest.raises(MiloraError, match=r"bfloat16.*fast forms") as caught:
        TrainingSession(model, "tuned", TrainingSettings(compile=True), pad_id=0)
    assert (caught.value.code, caught.value.details["path"]) == ("input/invalid-spec", "train.compile")


def test_without_a_compiler_the_training_does_not_start(opens: Opens) -> None:
    from torch._inductor import config

    reset_code(compiling._small.__code__)
    with (
        config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(MiloraError, match=r"train.compile needs a C\+\+ compiler") as caught,
    ):
        opens("lora", True)
    assert caught.value.code == "environment/missing-package"
