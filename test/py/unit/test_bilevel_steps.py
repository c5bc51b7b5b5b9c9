"""Second-order steps of Θ on a tiny model: the gradient, isolation, dropout, micro-batches, and faults on the way."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch.nn import functional

from milora.checkpoint import attach_adapter
from milora.checkpoint.attach import Trains
from milora.data import Dataset, TokenRow, collate
from milora.models import answer_logits
from milora.routing.context import routing_context
from milora.training import TrainingSession, TrainingSettings, VirtualStep
from milora.training.optimizer import GroupOptimizer

LENGTHS = [(5, 1), (9, 7), (3, 2), (14, 4), (6, 11), (2, 1), (8, 3), (4, 5)]
TRAIN, DEV = [0, 1, 2, 3, 4], [5, 6, 7]


@pytest.fixture
def start(tiny_model, milora_plan, randomize):
    """``start(dtype=..., plan={...}, trains="router", **settings)`` gives a training session."""

    def build(dtype=torch.float32, plan: dict[str, Any] | None = None, trains: Trains = "all", **settings: Any):
        base = tiny_model("llama").to(dtype).requires_grad_(False)
        model = attach_adapter(base, milora_plan(base, **(plan or {})), "tuned", trains=trains)
        randomize(model, "tuned", scale=0.1)
        return TrainingSession(model, "tuned", TrainingSettings(**settings), pad_id=0)

    return build


@pytest.fixture
def dataset(random_dataset) -> Dataset:
    return random_dataset(LENGTHS)


def gradient_of(session: TrainingSession, monkeypatch, dataset: Dataset, rate: float | None) -> list[torch.Tensor]:
    """Θ's gradient as the optimiser gets it; ``rate`` None: first order."""
    seen: list[torch.Tensor] = []

    def capture(group: GroupOptimizer, learning_rate: float) -> torch.Tensor:
        seen.extend(group.take_gradients())
        return torch.zeros(())

    virtual = None if rate is None else VirtualStep(dataset, TRAIN, rate)
    with monkeypatch.context() as patch:
        patch.setattr(GroupOptimizer, "step", capture)
        session.step(dataset, DEV, 1e-3, "activation", virtual)
    return seen


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


def loss_of(session: TrainingSession, dataset: Dataset, rows: list[int], balance: float) -> torch.Tensor:
    """The loss of a step, written out: one batch, mean over answer tokens, and the balance loss."""
    context = routing_context(session.model)
    assert context is not None
    batch = collate(dataset.take(rows), 0, torch.device("cpu"))
    with context.prompt(batch.prompt_mask), context.record() as record:
        loss = functional.cross_entropy(answer_logits(session.model, batch), batch.targets)
    of_routers = record.balance_loss()
    assert of_routers is not None
    return loss + balance * of_routers


def unrolled_gradient(session: TrainingSession, dataset: Dataset, rate: float, balance: float) -> torch.Tensor:
    """The derivative of L_val(ω − ξ ∇ω L_train(ω, θ), θ) in θ, by autograd's second derivatives."""
    omega, theta = (list(session.weights.parameters.values()), list(session.activation.parameters.values()))
    kept = [parameter.detach().clone() for parameter in omega]
    session.model.train()

    def train_gradients(create_graph: bool) -> list[torch.Tensor]:
        loss = loss_of(session, dataset, TRAIN, balance)
        return list(torch.autograd.grad(loss, omega, create_graph=create_graph, materialize_grads=True))

    step = train_gradients(False)
    with torch.no_grad():
        for parameter, gradient in zip(omega, step, strict=True):
            parameter.sub_(rate * gradient)
    behind = loss_of(session, dataset, DEV, balance)
    found = torch.autograd.grad(behind, [*omega, *theta], materialize_grads=True)
    direction, direct = found[: len(omega)], found[len(omega) :]
    with torch.no_grad():
        for parameter, value in zip(omega, kept, strict=True):
            parameter.copy_(value)
    products = [(g * v).sum() for g, v in zip(train_gradients(True), direction, strict=True)]
    through = torch.autograd.grad(torch.stack(products).sum(), theta, materialize_grads=True)
    session.model.eval()
    return flat([a - rate * b for a, b in zip(direct, through, strict=True)])


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_it_is_the_derivative_through_the_unrolled_step(start, dataset, monkeypatch, balance: float):
    rate = 0.3
    session = start(torch.float64, balance=balance)
    # The fused attention has no second derivative, which the reference takes.
    session.model.get_base_model().set_attn_implementation("eager")
    exact = unrolled_gradient(session, dataset, rate, balance)
    second = flat(gradient_of(session, monkeypatch, dataset, rate))
    first = flat(gradient_of(session, monkeypatch, dataset, None))
    # A central difference at ε = 0.01 / ‖v‖: an error of the order ε², where the first order is off by far more.

    assert off(second, exact) < 1e-4
    assert off(first, exact) > 0.05


def test_with_a_vanishing_step_it_is_the_first_order(start, dataset, monkeypatch):
    session = start(torch.float64, balance=0.1)
    first = flat(gradient_of(session, monkeypatch, dataset, None))
    assert off(flat(gradient_of(session, monkeypatch, dataset, 1e-9)), first) < 1e-6
    assert off(flat(gradient_of(session, monkeypatch, dataset, 0.3)), first) > 1e-3


def test_it_does_not_depend_on_the_micro_batch(start, dataset, monkeypatch):
    gradients = []
    for micro_batch in (1, 2, 16):
        session = start(torch.float64, balance=0.5, micro_batch=micro_batch)
        gradients.append(flat(gradient_of(session, monkeypatch, dataset, 0.1)))
    assert all(off(other, gradients[0]) < 1e-8 for other in gradients[1:])


def test_dropout_draws_the_same_numbers_on_both_sides(start, dataset, monkeypatch):
    """Else the difference of two draws, divided by 2ε, would drown the second derivative."""
    session = start(torch.float64, plan={"lora_dropout": 0.5})
    state = torch.get_rng_state()
    correction = {}
    for rate in (1e-3, 2e-3):
        torch.set_rng_state(state)
        ahead = flat(gradient_of(session, monkeypatch, dataset, rate))
        torch.set_rng_state(state)
        near = flat(gradient_of(session, monkeypatch, dataset, rate / 1000))
        correction[rate] = ahead - near
    # A correction made of the weights is in proportion to the rate; noise of ±1 / 2ε would be too, but much larger.
    assert off(correction[2e-3], 2 * correction[1e-3]) < 0.05
    torch.set_rng_state(state)
    assert correction[1e-3].norm() < 0.05 * flat(gradient_of(session, monkeypatch, dataset, None)).norm()


@pytest.mark.parametrize("trains", ["all", "router"])
def test_only_the_activations_move(start, dataset, trains: Trains):
    session = start(balance=0.1, weight_decay=0.1, trains=trains, plan={"lora_dropout": 0.2})
    session.step(dataset, TRAIN, 1e-3, "weights")
    session.step(dataset, DEV, 1e-3, "activation")
    before = {name: value.clone() for name, value in session.model.state_dict().items()}
    moments = {p: {k: v.clone() for k, v in state.items()} for p, state in session.weights.adamw.state.items()}
    session.step(dataset, DEV, 1e-3, "activation", VirtualStep(dataset, TRAIN, 1e-2))
    moved = {name for name, value in session.model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == set(session.activation.parameters)
    assert moments.keys() == session.weights.adamw.state.keys()
    for parameter, state in moments.items():
        assert all(torch.equal(session.weights.adamw.state[parameter][name], value) for name, value in state.items())
    assert all(p.grad is None for p in session.model.parameters())
    trainable = {name for name, p in session.model.named_parameters() if p.requires_grad}
    assert trainable == {*session.weights.parameters, *session.activation.parameters}
    figures = session.figures()[-1]
    assert (figures.kind, figures.answer_tokens) == ("activation", sum(LENGTHS[row][1] for row in DEV))
    assert figures.loss is not None
    assert figures.balance is not None


@pytest.mark.parametrize("broken_pass", [0, 1, 2, 3])
def test_a_pass_that_breaks_off_leaves_no_trace(start, dataset, monkeypatch, broken_pass: int):
    session = start(micro_batch=2)
    before = {name: value.clone() for name, value in session.model.state_dict().items()}
    original, passes = session._accumulate, itertools.count()

    def break_off(*arguments: Any) -> Any:
        found = original(*arguments)
        if next(passes) == broken_pass:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(session, "_accumulate", break_off)
    with pytest.raises(KeyboardInterrupt):
        session.step(dataset, DEV, 1e-3, "activation", VirtualStep(dataset, TRAIN, 1e-2))
    assert all(torch.equal(value, before[name]) for name, value in session.model.state_dict().items())
    assert all(p.grad is None for p in session.model.parameters())
    assert not session.model.training
    assert session.figures() == []


def test_without_answer_tokens_in_the_virtual_step_it_is_first_order(start, dataset, monkeypatch):
    silent = Dataset((TokenRow((1, 2, 3), ()),), "")
    session = start(torch.float64)
    first = gradient_of(session, monkeypatch, dataset, None)
    seen: list[torch.Tensor] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            GroupOptimizer, "step", lambda group, rate: seen.extend(group.take_gradients()) or torch.zeros(())
        )
        session.step(dataset, DEV, 1e-3, "activation", VirtualStep(silent, [0], 0.1))
    assert all(map(torch.equal, seen, first))
    session.figures()
    session.step(silent, [0], 1e-3, "activation", VirtualStep(dataset, TRAIN, 0.1))
    assert session.figures()[0].loss is None
