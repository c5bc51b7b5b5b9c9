"""Memory that runs out within a step, the trial of a micro-batch, and parameters that are stepped otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from milora.checkpoint import attach_adapter
from milora.data import Dataset
from milora.errors import MiloraError
from milora.models import choose_placement
from milora.training import TrainingSession, TrainingSettings, VirtualStep, memory, step_loss
from milora.training.loss_scale import LossScale
from milora.training.memory import MemoryGauge, free_bytes

_LENGTHS = [(5, 1), (9, 7), (3, 2), (14, 4), (6, 11), (2, 1), (8, 3), (4, 5)]
_ALL = range(len(_LENGTHS))


@pytest.fixture
def dataset(random_dataset: Callable[..., Dataset]) -> Dataset:
    return random_dataset(_LENGTHS)


@pytest.fixture
def start(
    tiny_model: Callable[..., Any], milora_plan: Callable[..., dict[str, Any]]
) -> Callable[..., TrainingSession]:
    def make(*, dropout: float = 0.0, dtype: torch.dtype = torch.float32, **settings: Any) -> TrainingSession:
        base = tiny_model("llama").to(dtype)
        model = attach_adapter(base, milora_plan(base, lora_dropout=dropout), "tuned", seed=1)
        return TrainingSession(model, "tuned", TrainingSettings(balance=0.1, seed=5, **settings), pad_id=0)

    return make


def values(session: TrainingSession) -> dict[str, Tensor]:
    groups = (session.weights, session.activation)
    return {name: value.detach().clone() for group in groups for name, value in group.parameters.items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


def limit_rows(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """A fake limit of memory: more rows at once than this run out of it, in the second micro-batch at the earliest."""
    inner = step_loss.answer_nll
    calls = [0]

    def limited(model: Any, batch: Any) -> Tensor:
        calls[0] += 1
        if calls[0] > 1 and len(batch.input_ids) > rows:
            raise torch.OutOfMemoryError("a fake limit")
        return inner(model, batch)

    monkeypatch.setattr(step_loss, "answer_nll", limited)


@pytest.mark.parametrize("kind", ["weights", "activation", "second-order"])
def test_a_step_that_ran_out_of_memory_leaves_no_trace(
    start: Callable[..., TrainingSession], dataset: Dataset, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The step made again with fewer rows at once is the step of a training that never tried more."""

    def step(session: TrainingSession) -> None:
        virtual = VirtualStep(dataset, _ALL, 1e-2) if kind == "second-order" else None
        session.step(dataset, _ALL, 1e-2, "weights" if kind == "weights" else "activation", virtual)

    expected = start(dropout=0.2, micro_batch=2)
    step(expected)
    session = start(dropout=0.2, micro_batch=4)
    before = values(session)
    with monkeypatch.context() as patch:
        limit_rows(patch, 3)
        with pytest.raises(torch.OutOfMemoryError):
            step(session)
        assert same(before, values(session))
        session.micro_batch = 2
        step(session)
    assert same(values(expected), values(session))
    assert len(session.figures()) == 1


def test_a_trial_leaves_no_trace(start: Callable[..., TrainingSession], dataset: Dataset) -> None:
    expected, session = start(dropout=0.2, micro_batch=3), start(dropout=0.2, micro_batch=3)
    expected.step(dataset, _ALL, 1e-2, "weights")
    session = start(dropout=0.2, micro_batch=3)
    assert session.trial(dataset, _ALL) >= 0
    session.step(dataset, _ALL, 1e-2, "weights")
    assert same(values(expected), values(session))
    assert len(session.figures()) == 1


def test_the_gauge_sees_what_is_taken() -> None:
    cpu = torch.device("cpu")
    free = free_bytes(cpu)
    if free is None:
        pytest.skip("this system does not say what memory is free")
    gauge = MemoryGauge(cpu)
    block = torch.ones(32 * 2**20, dtype=torch.uint8)
    assert gauge.used() >= 0.9 * block.numel()
    del block
    assert MemoryGauge(cpu).used() < 16 * 2**20
    assert free > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
def test_the_gauge_sees_what_is_taken_again_of_what_was_freed() -> None:
    """Blocks too small for pages of their own: once freed they stay the process's, unless they are given back."""

    def blocks() -> list[Tensor]:
        return [torch.ones(2**16, dtype=torch.uint8) for _ in range(1024)]

    kept = blocks()[::256]
    gauge = MemoryGauge(torch.device("cpu"))
    taken = blocks()
    assert gauge.used() >= 0.9 * len(taken) * taken[0].numel()
    assert len(kept) == 4


def test_a_container_s_unused_file_pages_count_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 200\ninactive_file 600\nactive_file 100\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert free_bytes(torch.device("cpu")) == 700


@pytest.mark.parametrize(("method", "container"), [("lora", "lora_B"), ("milora", "milora_prompt_up")])
def test_lora_plus_gives_the_b_matrices_their_own_rate(
    tiny_model: Callable[..., Any],
    lora_plan: Callable[..., dict[str, Any]],
    milora_plan: Callable[..., dict[str, Any]],
    dataset: Dataset,
    method: str,
    container: str,
) -> None:
    plan = lora_plan if method == "lora" else milora_plan

    def moved(ratio: float) -> dict[str, Tensor]:
        base = tiny_model("llama")
        model = attach_adapter(base, plan(base), "tuned", seed=1)
        settings = TrainingSettings(lora_plus_ratio=ratio, max_gradient_norm=None)
        session = TrainingSession(model, "tuned", settings, pad_id=0)
        before = values(session)
        session.step(dataset, _ALL, 1e-3, "weights")
        return {name: value - before[name] for name, value in values(session).items()}

    plain, plus = moved(1.0), moved(16.0)
    b_names = [name for name in plain if f".{container}." in name]
    for name in plain:
        # Adam's first step is the rate times the gradient's sign, so the moves are as the rates.
        factor = 16.0 if name in b_names else 1.0
        assert torch.allclose(plus[name], factor * plain[name], rtol=1e-3, atol=1e-7)
    assert any(plain[name].abs().max() > 5e-4 for name in b_names)


def test_lora_plus_needs_b_matrices(tiny_model: Callable[..., Any], planned: Callable[..., dict[str, Any]]) -> None:
    base = tiny_model("llama")
    plan = planned(base, "MILORA_BITFIT", only=["q", "v"], vector=8)
    model = attach_adapter(base, plan, "tuned", seed=1)
    with pytest.raises(MiloraError, match="no LoRA B matrices") as caught:
        TrainingSession(model, "tuned", TrainingSettings(lora_plus_ratio=4.0), pad_id=0)
    assert caught.value.details["path"] == "train.loraPlusRatio"


def test_vectors_do_not_decay_where_matrices_alone_do(
    start: Callable[..., TrainingSession], tiny_model: Callable[..., Any], planned: Callable[..., dict[str, Any]]
) -> None:
    base = tiny_model("llama")
    plan = planned(base, "MILORA_BITFIT", only=["q", "v"], vector=8)
    model = attach_adapter(base, plan, "tuned", seed=1)
    settings = TrainingSettings(weight_decay=0.1, weight_decay_on="matrices")
    bitfit = TrainingSession(model, "tuned", settings, pad_id=0)
    for session in (bitfit, start(weight_decay=0.1, weight_decay_on="matrices")):
        assert session.weights.adamw is not None
        decays = {
            id(parameter): group["weight_decay"]
            for group in session.weights.adamw.param_groups
            for parameter in group["params"]
        }
        for parameter in session.weights.parameters.values():
            assert decays[id(parameter)] == (0.1 if parameter.dim() >= 2 else 0.0)
    assert {parameter.dim() for parameter in bitfit.weights.parameters.values()} >= {1}


def test_groups_of_one_rate_and_decay_are_one_group(start: Callable[..., TrainingSession]) -> None:
    adamw = start(weight_decay=0.1).weights.adamw
    assert adamw is not None
    assert len(adamw.param_groups) == 1


def test_a_quantised_base_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milora.models.placement.find_spec", lambda _name: None)
    with pytest.raises(MiloraError, match="bitsandbytes") as caught:
        choose_placement("cpu", "float32", "auto", "nf4")
    assert caught.value.code == "environment/missing-package"


def test_float16_is_trained_with_a_scaled_loss(start: Callable[..., TrainingSession], dataset: Dataset) -> None:
    """The update is that of an unscaled loss, up to float16; an overflow skips it and halves the scale."""
    half, full = start(dtype=torch.float16), start()
    assert full.scale is None
    assert isinstance(half.scale, LossScale)
    for session in (half, full):
        session.step(dataset, _ALL, 1e-2, "weights")
    norms = [session.figures()[0].gradient_norm for session in (half, full)]
    assert norms[0] == pytest.approx(norms[1], rel=2e-2)
    before, scale = values(half), float(half.scale.value)
    half.scale.value.fill_(1e38)
    half.step(dataset, _ALL, 1e-2, "weights")
    assert same(before, values(half))
    assert half.figures()[0].gradient_norm is None
    assert float(half.scale.value) == pytest.approx(0.5e38)
    assert scale == 2.0**10


def test_the_scale_of_the_loss_grows_after_many_good_steps() -> None:
    scale = LossScale(torch.device("cpu"))
    good, bad = torch.tensor(1.0), torch.tensor(float("inf"))
    for _ in range(1999):
        scale.update(good)
    assert float(scale.value) == 2.0**10
    scale.update(good)
    assert float(scale.value) == 2.0**11
    scale.update(bad)
    assert float(scale.value) == 2.0**10
    for _ in range(1999):
        scale.update(good)
    assert float(scale.value) == 2.0**10
