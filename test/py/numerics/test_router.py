"""The router's parts: gradients by finite differences, the rational fit, gates, the balance loss by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from milora.routing.activation import ActivationName, fixed_activation
from milora.routing.balance import balance_loss, first_choices
from milora.routing.gates import expert_probabilities, top_k_gates
from milora.routing.pooler import (
    PoolerName,
    attention_pool,
    average_pool,
    last_token_pool,
    max_pool,
    normalizing_scale,
    pool,
    router_precision,
)
from milora.routing.rational import (
    DENOMINATOR_DEGREE,
    FIT_GROWTH,
    FIT_INTERVAL,
    FIT_MAX_ERROR,
    NUMERATOR_DEGREE,
    gelu_coefficients,
    rational,
)
from milora.routing.record import RoutingRecord


def coefficients() -> tuple[Tensor, Tensor]:
    numerator, denominator = gelu_coefficients()
    return torch.tensor(numerator, dtype=torch.float64), torch.tensor(denominator, dtype=torch.float64)


MASK = torch.tensor([[False, True, True, True, False], [True, True, False, False, False]])


def leaves(*shapes: tuple[int, ...], seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes)


@pytest.mark.parametrize("gate", ["scaled", "probability"])
@pytest.mark.parametrize("normalize", [True, False])
def test_gradcheck_of_the_router(gate: str, normalize: bool) -> None:
    numerator, denominator = coefficients()

    def router(hidden: Tensor, weight: Tensor, above: Tensor, below: Tensor, projection: Tensor) -> Tensor:
        scale = normalizing_scale(hidden) if normalize else None
        activated = rational(attention_pool(hidden, MASK, weight, scale), above, below)
        probabilities = expert_probabilities(activated, projection)
        return top_k_gates(probabilities, 2, "scaled" if gate == "scaled" else "probability")

    # b_2 + 0.1 keeps the absolute value away from its kink.
    below = (denominator + torch.tensor([0.01, 0.1, 0.01, 0.01, 0.001])).requires_grad_()
    hidden, weight, projection = leaves((2, 5, 6), (6,), (4, 6))
    inputs = (hidden, weight, numerator.clone().requires_grad_(), below, projection)
    assert torch.autograd.gradcheck(router, inputs, atol=1e-7)


@pytest.mark.parametrize("name", ["self-attention", "average", "max", "last-token"])
@pytest.mark.parametrize("normalize", [True, False])
def test_gradcheck_of_the_poolers(name: PoolerName, normalize: bool) -> None:
    def pooled(hidden: Tensor, weight: Tensor) -> Tensor:
        scale = normalizing_scale(hidden) if normalize else None
        return pool(name, hidden, MASK, weight if name == "self-attention" else None, scale)

    hidden, weight = leaves((2, 5, 6), (6,))
    assert torch.autograd.gradcheck(pooled, (hidden, weight))
    (gradient,) = torch.autograd.grad(pooled(hidden, weight).square().sum(), hidden)
    assert torch.equal(gradient[~MASK], torch.zeros_like(gradient[~MASK])), "padding or answer counts"


@pytest.mark.parametrize("name", ["rational", "gelu", "relu"])
def test_gradcheck_of_the_activations(name: ActivationName) -> None:
    numerator, denominator = coefficients()
    below = denominator + torch.tensor([0.01, 0.1, 0.01, 0.01, 0.001])

    def activated(inputs: Tensor) -> Tensor:
        return rational(inputs, numerator, below) if name == "rational" else fixed_activation(name, inputs)

    assert torch.autograd.gradcheck(activated, leaves((4, 6)))


def test_gradcheck_of_the_balance_loss() -> None:
    (logits,) = leaves((5, 4))
    share = first_choices(torch.softmax(logits, dim=-1)) / 5
    assert torch.autograd.gradcheck(lambda x: balance_loss(torch.softmax(x, dim=-1), share, 5), (logits,))


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_gate_none_is_hard_forward_and_straight_through_backward(top_k: int) -> None:
    logits, upstream = leaves((3, 4), (3, 4), seed=3)
    probabilities = torch.softmax(logits, dim=-1)
    gates = top_k_gates(probabilities, top_k, "none")
    assert gates.detach().unique().tolist() == ([1.0] if top_k == 4 else [0.0, 1.0])
    assert gates.sum(dim=-1).tolist() == [top_k] * 3
    assert torch.equal(gates > 0, top_k_gates(probabilities, top_k, "scaled") > 0)
    (actual,) = torch.autograd.grad((gates * upstream).sum(), logits)
    # gate_i counts as k p_i, so ∂L/∂z_j = k p_j (v_j - Σ_i v_i p_i) for the upstream gradient v.
    for row in range(3):
        p, v = probabilities[row].tolist(), upstream[row].tolist()
        mean = sum(a * b for a, b in zip(p, v, strict=True))
        expected = [top_k * a * (b - mean) for a, b in zip(p, v, strict=True)]
        assert actual[row].tolist() == pytest.approx(expected, abs=1e-10)
    assert float(actual.abs().max()) > 1e-3


def test_poolers_by_hand() -> None:
    hidden = torch.tensor([[[9.0, 9.0], [1.0, -4.0], [3.0, -2.0], [8.0, 8.0]]], dtype=torch.float64)
    mask = torch.tensor([[False, True, True, False]])
    scale = torch.tensor([[7.0, 2.0, 0.5, 7.0]], dtype=torch.float64)
    assert average_pool(hidden, mask).tolist() == [[2, -3]]
    assert average_pool(hidden, mask, scale).tolist() == [[1.75, -4.5]]
    assert max_pool(hidden, mask).tolist() == [[3, -2]]
    assert max_pool(hidden, mask, scale).tolist() == [[2, -1]]
    assert last_token_pool(hidden, mask).tolist() == [[3, -2]]
    assert last_token_pool(hidden, mask, scale).tolist() == [[1.5, -1]]
    nothing = torch.zeros_like(mask)
    weight = torch.ones(2, dtype=torch.float64)
    for name in ("self-attention", "average", "max", "last-token"):
        assert pool(name, hidden, nothing, weight, scale).tolist() == [[0, 0]]


def test_rational_fits_gelu_on_its_interval_and_grows_as_stated_outside() -> None:
    numerator, denominator = coefficients()
    assert len(numerator) == NUMERATOR_DEGREE + 1
    assert len(denominator) == DENOMINATOR_DEGREE
    inside = torch.linspace(*FIT_INTERVAL, 40_001, dtype=torch.float64)
    error = (rational(inside, numerator, denominator) - torch.nn.functional.gelu(inside)).abs().max()
    assert FIT_MAX_ERROR / 2 < error <= FIT_MAX_ERROR
    outside = torch.linspace(FIT_INTERVAL[1], 5_000, 100_000, dtype=torch.float64)
    for side in (outside, -outside):
        growth = (rational(side, numerator, denominator) - torch.nn.functional.gelu(side)).abs() / side.square()
        assert growth.max() <= FIT_GROWTH
    assert growth[-1] > FIT_GROWTH / 2


def test_rational_fit_is_the_least_squares_optimum() -> None:
    points = torch.linspace(0, FIT_INTERVAL[1], 2001, dtype=torch.float64)
    target = torch.nn.functional.gelu(points) - points / 2
    numerator, denominator = coefficients()
    free = torch.stack([numerator[2], numerator[4], numerator[6], denominator[1], denominator[3]]).requires_grad_()
    even = free[0] * points**2 + free[1] * points**4 + free[2] * points**6
    fitted = even / (1 + free[3] * points**2 + free[4] * points**4)
    loss = (fitted - target).square().sum()
    (gradient,) = torch.autograd.grad(loss, free)
    # To first order, a change of any coefficient by 1 % changes the loss by less than 1e-8.
    assert float((gradient * free * 0.01).abs().max()) < 1e-8
    assert float(loss.detach()) / len(points) < 1e-5


def test_rational_is_finite_and_precise_in_float32_at_massive_activations() -> None:
    numerator, denominator = coefficients()
    inputs = torch.tensor(np.concatenate([np.linspace(-64, 64, 4001), [-24_146.0, 24_146.0]]))
    exact = rational(inputs, numerator, denominator)
    single = rational(inputs.float(), numerator.float(), denominator.float()).double()
    assert torch.isfinite(single).all()
    assert ((single - exact).abs() <= 2e-4 + 2e-6 * inputs.square()).all()


def test_pooler_ignores_tokens_outside_the_prompt_and_survives_an_empty_row() -> None:
    hidden = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[False, True, True, False], [False, False, False, False]])
    weight = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    pooled = attention_pool(hidden, mask, weight)
    scores = torch.softmax(hidden[0, 1:3] @ weight, dim=0)
    assert torch.allclose(pooled[0], scores @ hidden[0, 1:3], atol=1e-14)
    assert torch.equal(pooled[1], torch.zeros(3, dtype=torch.float64))
    changed = hidden.clone()
    changed[0, 0] += 1e6
    changed[0, 3] -= 1e6
    assert torch.equal(attention_pool(changed, mask, weight)[0], pooled[0])
    (gradient,) = torch.autograd.grad(pooled.sum(), weight)
    assert torch.isfinite(gradient).all()


def test_router_precision() -> None:
    assert router_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert router_precision(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


def test_gates_by_hand() -> None:
    probabilities = torch.tensor([[0.5, 0.1, 0.3, 0.1]], dtype=torch.float64)
    scaled = torch.tensor([[1.25, 0, 0.75, 0]], dtype=torch.float64)
    assert torch.allclose(top_k_gates(probabilities, 2, "scaled"), scaled, atol=1e-15)
    kept = torch.tensor([[0.5, 0, 0.3, 0]], dtype=torch.float64)
    assert torch.equal(top_k_gates(probabilities, 2, "probability"), kept)
    assert float(top_k_gates(probabilities, 4, "scaled").sum()) == pytest.approx(4)


def test_balance_loss_by_hand() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.5, 0.4, 0.1]])
    assert first_choices(probabilities).tolist() == [3, 0, 1]
    # f = (3/4, 0, 1/4); p̂ = (1.9/4, 1/4, 1.1/4); 3 (0.75 · 0.475 + 0.25 · 0.275)
    assert float(balance_loss(probabilities, torch.tensor([0.75, 0, 0.25]), 4)) == pytest.approx(1.275)
    even = torch.full((6, 3), 1 / 3)
    assert float(balance_loss(even, torch.full((3,), 1 / 3), 6)) == pytest.approx(1)
    collapsed = torch.tensor([[0.0, 1.0, 0.0]])
    assert float(balance_loss(collapsed, torch.tensor([0.0, 1.0, 0.0]), 1)) == pytest.approx(3)


def test_balance_losses_and_gradients_of_micro_batches_add_up() -> None:
    logits = torch.randn(10, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()

    def record(rows: slice) -> RoutingRecord:
        filled = RoutingRecord(None)
        for layer in range(2):
            probabilities = torch.softmax(logits[rows, layer], dim=-1)
            filled.note("default", layer, probabilities, top_k_gates(probabilities, 2, "scaled"))
        return filled

    def loss(of: RoutingRecord, **step: Any) -> Tensor:
        found = of.balance_loss(**step)
        assert found is not None
        return found

    whole = record(slice(0, 10))
    (expected,) = torch.autograd.grad(loss(whole), logits)
    parts = [record(slice(0, 3)), record(slice(3, 10))]
    share = sum((part.first_choice_counts() for part in parts), torch.zeros(2, 4)) / 10
    losses = [loss(part, first_choice_share=share, num_prompts=10) for part in parts]
    summed = torch.stack(losses).sum()
    assert float(summed.detach()) == pytest.approx(float(loss(whole).detach()), abs=1e-14)
    (actual,) = torch.autograd.grad(summed, logits)
    assert torch.allclose(actual, expected, rtol=0, atol=1e-14)
    assert whole.gates.shape == (10, 2, 4)
    assert whole.chosen_counts().sum(dim=1).tolist() == [20, 20]
    assert whole.first_choice_counts().sum(dim=1).tolist() == [10, 10]
