"""Second-order bi-level steps: on a quadratic toy with a known answer, and on a tiny model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from milora.checkpoint import attach_adapter
from milora.data import Dataset, collate
from milora.errors import MiloraError
from milora.models import answer_states
from milora.routing.context import routing_context
from milora.training import TrainingSession, TrainingSettings, VirtualStep
from milora.training.batching import micro_batches
from milora.training.optimizer import GroupOptimizer
from milora.training.second_order import BilevelGradients, second_order_gradient

XI = 0.3
LENGTHS = [(5, 3), (9, 4), (4, 2), (7, 5), (6, 3), (3, 6), (2, 0)]
TRAIN, DEV, NO_ANSWER = [0, 1, 2], [3, 4, 5], [6]
RANDOM_SEED = 7


def _toy() -> tuple[Tensor, Tensor, Callable[..., Tensor], Callable[..., Tensor]]:
    """L_train = ½ (ω − Mθ)ᵀ A (ω − Mθ), L_val = ½ ‖ω − c‖² + ½ ‖θ‖² · 0.1, in float64."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    half = random(4, 4)
    curvature, mixing, centre = (half @ half.T + torch.eye(4, dtype=torch.float64), random(4, 3), random(4))
    omega, theta = random(4).requires_grad_(), random(3).requires_grad_()

    def train(w: Tensor, t: Tensor) -> Tensor:
        off = w - mixing @ t
        return 0.5 * off @ curvature @ off

    def dev(w: Tensor, t: Tensor) -> Tensor:
        return 0.5 * (w - centre).square().sum() + 0.05 * t.square().sum()

    return omega, theta, train, dev


def _gradients(loss: Callable[..., Tensor], omega: Tensor, theta: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    found = torch.autograd.grad(loss(omega, theta), (omega, theta), allow_unused=True)
    filled = [torch.zeros_like(p) if g is None else g for p, g in zip((omega, theta), found, strict=True)]
    return [filled[0]], [filled[1]]


def _bilevel(
    train: Callable[..., Tensor], dev: Callable[..., Tensor], omega: Tensor, theta: Tensor
) -> BilevelGradients:
    return BilevelGradients(
        lambda: _gradients(train, omega, theta)[0],
        lambda: _gradients(train, omega, theta)[1],
        lambda: _gradients(dev, omega, theta),
    )


def test_it_is_the_gradient_through_the_virtual_step() -> None:
    omega, theta, train, dev = _toy()
    train_omega = torch.autograd.grad(train(omega, theta), omega, create_graph=True)[0]
    (exact,) = torch.autograd.grad(dev(omega - XI * train_omega, theta), theta)
    before = omega.detach().clone()
    (found,) = second_order_gradient([omega], XI, _bilevel(train, dev, omega, theta))
    # A central difference of a quadratic is exact but for rounding.
    assert (found - exact).abs().max() < 1e-9 * exact.abs().max()
    (first_order,) = _gradients(dev, omega, theta)[1]
    assert (first_order - exact).abs().max() > 0.1 * exact.abs().max()
    assert torch.equal(omega.detach(), before)


def test_without_a_gradient_of_the_weights_it_is_the_first_order() -> None:
    omega, theta, train, _ = _toy()
    nothing = replace(
        _bilevel(train, train, omega, theta), validation=lambda: ([torch.zeros_like(omega)], [theta.detach().clone()])
    )
    (found,) = second_order_gradient([omega], XI, nothing)
    assert torch.equal(found, theta.detach())


def test_the_weights_come_back_when_a_pass_fails() -> None:
    omega, theta, train, _ = _toy()
    before = omega.detach().clone()

    def fails() -> Any:
        raise RuntimeError("no dev rows")

    with pytest.raises(RuntimeError, match="no dev rows"):
        second_order_gradient([omega], XI, replace(_bilevel(train, train, omega, theta), validation=fails))
    assert torch.equal(omega.detach(), before)


def test_a_step_moves_only_the_activations(
    checkpoint: Path, run_op: Callable[..., dict[str, Any]], tmp_path: Path, milora_plan: Callable[..., dict[str, Any]]
) -> None:
    from milora.server.ops import session

    rows = "\n".join(f'{{"prompt": "what follows {n}", "answer": " {n + 1}"}}' for n in range(8))
    (tmp_path / "rows.jsonl").write_text(rows)
    run_op("openModel", model=str(checkpoint), device="cpu", dtype="float32")
    run_op("loadRows", name="rows", file=str(tmp_path / "rows.jsonl"))
    config = milora_plan(session.current().opened.model)
    run_op("attachAdapter", adapter="second", config=config)
    run_op("startTraining", adapter="second", balance=0.01)
    run_op("weightsStep", data="rows", rows=[0, 1, 2], learningRate=1e-2)
    training = session.current().open_training()
    weights = {name: p.detach().clone() for name, p in training.weights.parameters.items()}
    theta = {name: p.detach().clone() for name, p in training.activation.parameters.items()}
    assert training.weights.adamw is not None
    moments = [
        {key: value.clone() for key, value in training.weights.adamw.state[p].items()}
        for p in training.weights.parameters.values()
    ]
    virtual = {"data": "rows", "rows": [3, 4], "learningRate": 1e-2}
    run_op("activationStep", data="rows", rows=[5, 6], learningRate=1e-2, virtualStep=virtual)
    assert all(torch.equal(weights[name], p.detach()) for name, p in training.weights.parameters.items())
    for p, kept in zip(training.weights.parameters.values(), moments, strict=True):
        assert all(torch.equal(training.weights.adamw.state[p][key], value) for key, value in kept.items())
    assert any(not torch.equal(theta[name], p.detach()) for name, p in training.activation.parameters.items())
    kinds = [figures["kind"] for figures in run_op("trainingFigures")["steps"]]
    assert kinds == ["weights", "activation"]


@pytest.fixture
def start(tiny_model, milora_plan, randomize) -> Callable[..., TrainingSession]:
    """``start(dropout=0.3, dtype=..., **settings)`` gives a training session."""

    def build(dropout: float = 0.0, dtype: torch.dtype = torch.float64, **settings: Any) -> TrainingSession:
        base = tiny_model("llama").to(dtype).requires_grad_(False)
        model = attach_adapter(base, milora_plan(base, lora_dropout=dropout), "tuned")
        randomize(model, "tuned", scale=0.1)
        return TrainingSession(model, "tuned", TrainingSettings(**settings), pad_id=0)

    return build


def _parameters(session: TrainingSession) -> tuple[list[Tensor], list[Tensor]]:
    return list(session.weights.parameters.values()), list(session.activation.parameters.values())


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def _same(tensors: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(tensor, other) for tensor, other in zip(tensors, others, strict=True))


def _moments(group: GroupOptimizer) -> list[Tensor]:
    assert group.adamw is not None
    return [value for state in group.adamw.state.values() for value in state.values()]


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _loss(session: TrainingSession, dataset: Dataset, rows: list[int]) -> Tensor:
    """A step's loss, written out for one batch."""
    (group,) = micro_batches(dataset.take(rows), len(rows))
    batch = collate(group, 0, torch.device("cpu"))
    context = routing_context(session.model)
    assert context is not None
    with context.prompt(batch.prompt_mask), context.record() as record:
        states, head = answer_states(session.model, batch)
        nll = functional.cross_entropy(head(states), batch.targets)
    balance = record.balance_loss()
    assert balance is not None
    return nll + session.settings.balance * balance


def _exact(session: TrainingSession, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """d/dθ L_val(ω − ξ ∇ω L_train(ω, θ), θ) by the chain rule, ∇θ L_val − ξ ∇θ (∇ω L_train · ∇ω' L_val), and the
    second term alone."""
    omega, theta = _parameters(session)
    start = _copies(omega)
    session.model.train()
    torch.manual_seed(RANDOM_SEED)
    # Only this kernel can be differentiated twice.
    with sdpa_kernel(SDPBackend.MATH):
        train_loss = _loss(session, dataset, TRAIN)
        inner = torch.autograd.grad(train_loss, omega, create_graph=True, materialize_grads=True)
        for parameter, value, gradient in zip(omega, start, inner, strict=True):
            parameter.data = value - XI * gradient.detach()
        both = torch.autograd.grad(_loss(session, dataset, DEV), omega + theta, materialize_grads=True)
        for parameter, value in zip(omega, start, strict=True):
            parameter.data = value
        dot = torch.stack([(a * b).sum() for a, b in zip(inner, both[: len(omega)], strict=True)]).sum()
        mixed = torch.autograd.grad(dot, theta, materialize_grads=True)
    session.model.eval()
    correction = XI * _flat(list(mixed))
    return _flat(list(both[len(omega) :])) - correction, correction


def _step_gradient(
    session: TrainingSession, monkeypatch: pytest.MonkeyPatch, dataset: Dataset, virtual_step: VirtualStep | None
) -> Tensor:
    """Θ's gradient as the optimiser gets it in one step; nothing moves."""
    seen: list[Tensor] = []

    def capture(group: GroupOptimizer, learning_rate: float, after_update: object = None) -> Tensor:
        seen.append(_flat(group.take_gradients()))
        return torch.zeros(())

    torch.manual_seed(RANDOM_SEED)
    with monkeypatch.context() as patch:
        patch.setattr(GroupOptimizer, "step", capture)
        session.step(dataset, DEV, 1e-3, "activation", virtual_step)
    (gradient,) = seen
    return gradient


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_a_step_has_the_gradient_through_the_virtual_step(start, random_dataset, monkeypatch, dropout, balance):
    session, dataset = start(dropout, balance=balance), random_dataset(LENGTHS)
    exact, correction = _exact(session, dataset)
    second = _step_gradient(session, monkeypatch, dataset, VirtualStep(dataset, TRAIN, XI))
    first = _step_gradient(session, monkeypatch, dataset, None)
    # The central difference errs by ε², and the model's float32 norms by rounding over ε. Other dropout masks in the
    # passes, or a loss without the balance, would be off by the size of the correction itself.
    assert (second - exact).norm() < 1e-3 * correction.norm()
    assert correction.norm() > 0.01 * exact.norm()
    assert (first - exact).norm() > 0.05 * exact.norm()


def test_a_second_order_step_does_not_depend_on_the_micro_batch(start, random_dataset, monkeypatch):
    dataset = random_dataset(LENGTHS)
    whole, split = (
        _step_gradient(start(balance=0.5, micro_batch=size), monkeypatch, dataset, VirtualStep(dataset, TRAIN, XI))
        for size in (16, 2)
    )
    assert (whole - split).norm() < 1e-4 * whole.norm()


@pytest.mark.parametrize(("rows", "rate"), [(NO_ANSWER, XI), (TRAIN, 0.0)])
def test_through_a_virtual_step_that_moves_nothing_it_is_the_first_order(
    start, random_dataset, monkeypatch, rows, rate
):
    session, dataset = start(dtype=torch.float32, balance=0.5), random_dataset(LENGTHS)
    second = _step_gradient(session, monkeypatch, dataset, VirtualStep(dataset, rows, rate))
    first = _step_gradient(session, monkeypatch, dataset, None)
    assert torch.equal(second, first)
    plain = torch.autograd.grad(_loss(session, dataset, DEV), _parameters(session)[1], materialize_grads=True)
    assert torch.allclose(first, _flat(list(plain)), rtol=1e-4, atol=1e-7)


def test_the_weights_and_their_moments_stay_bit_for_bit(start, random_dataset):
    session, dataset = start(0.3, torch.float32, balance=0.5, weight_decay=0.1), random_dataset(LENGTHS)
    session.step(dataset, TRAIN, 1e-2, "weights")
    omega, theta = _parameters(session)
    before, moments, own = _copies(omega), _copies(_moments(session.weights)), _copies(theta)
    session.step(dataset, DEV, 1e-2, "activation", VirtualStep(dataset, TRAIN, XI))
    assert _same(omega, before)
    assert _same(_moments(session.weights), moments)
    assert not _same(theta, own)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in (*omega, *theta))
    assert not session.model.training
    _, figure = session.figures()
    assert figure.answer_tokens == sum(LENGTHS[row][1] for row in DEV)
    assert figure.gradient_norm is not None


@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_a_step_that_fails_on_the_way_leaves_all_as_it_was(start, random_dataset, monkeypatch, failing):
    session, untouched = (start(dtype=torch.float32, balance=0.5) for _ in range(2))
    dataset = random_dataset(LENGTHS)
    groups = [tensor for group in _parameters(session) for tensor in group]
    before, calls = _copies(groups), iter(range(4))
    accumulate = session._accumulate

    def fails(*arguments: Any) -> Any:
        figures = accumulate(*arguments)
        if next(calls) == failing:
            raise RuntimeError("out of memory")
        return figures

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="out of memory"):
        patch.setattr(session, "_accumulate", fails)
        session.step(dataset, DEV, 1e-2, "activation", VirtualStep(dataset, TRAIN, XI))
    assert _same(groups, before)
    assert all(tensor.grad is None and tensor.requires_grad for tensor in groups)
    for each in (session, untouched):
        each.step(dataset, TRAIN, 1e-2, "weights")
    assert _same(groups, [tensor for group in _parameters(untouched) for tensor in group])


def test_a_loss_that_is_not_finite_behind_the_virtual_step_changes_nothing(start, random_dataset):
    session, dataset = start(dtype=torch.float32), random_dataset(LENGTHS)
    groups = [tensor for group in _parameters(session) for tensor in group]
    before = _copies(groups)
    session.step(dataset, DEV, 1e-2, "activation", VirtualStep(dataset, TRAIN, float("inf")))
    assert _same(groups, before)
    (figure,) = session.figures()
    assert (figure.loss, figure.gradient_norm) == (None, None)


def test_a_weights_step_has_no_virtual_step(start, random_dataset):
    dataset = random_dataset(LENGTHS)
    with pytest.raises(MiloraError, match="only one of the group 'activation'") as caught:
        start().step(dataset, TRAIN, 1e-2, "weights", VirtualStep(dataset, TRAIN, XI))
    assert caught.value.code == "input/invalid-spec"
