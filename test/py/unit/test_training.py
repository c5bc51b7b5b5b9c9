"""Training steps: the loss, micro-batches, the two groups, and what does not move."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch.nn import functional

from milora.checkpoint import attach_adapter
from milora.data import Dataset, TokenRow, collate
from milora.errors import MiloraError
from milora.models import answer_states
from milora.routing.context import routing_context
from milora.training import Group, TrainingSession, TrainingSettings, data_loss
from milora.training.optimizer import GroupOptimizer

LENGTHS = [(5, 1), (9, 7), (3, 2), (14, 4), (6, 11), (2, 1), (8, 3), (4, 5), (7, 2), (12, 1), (3, 9), (10, 6)]
NO_ANSWER = Dataset((TokenRow((1, 2, 3), ()), TokenRow((4,), ())), "")
ALL = range(len(LENGTHS))


@pytest.fixture
def start(tiny_model, milora_plan, lora_plan, randomize):
    """``start("llama", "milora", dtype=..., **settings)`` gives a training session."""

    def build(family: str = "llama", method: str = "milora", dtype=torch.float32, **settings: Any) -> TrainingSession:
        base = tiny_model(family).to(dtype).requires_grad_(False)
        model = attach_adapter(base, milora_plan(base) if method == "milora" else lora_plan(base), "tuned")
        randomize(model, "tuned", scale=0.1)
        return TrainingSession(model, "tuned", TrainingSettings(**settings), pad_id=0)

    return build


def values(session: TrainingSession, group: str) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in getattr(session, group).parameters.items()}


def moved(session: TrainingSession, group: str, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in values(session, group).items() if not torch.equal(value, before[name])}


def step_gradients(session: TrainingSession, monkeypatch, dataset, kind: Group = "weights") -> dict[str, torch.Tensor]:
    """The gradients that the optimiser gets in one step."""
    seen: dict[str, torch.Tensor] = {}

    def capture(group: GroupOptimizer, learning_rate: float, after_update: object = None) -> torch.Tensor:
        seen.update({name: p.grad.clone() for name, p in group.parameters.items() if p.grad is not None})
        return torch.zeros(())

    with monkeypatch.context() as patch:
        patch.setattr(GroupOptimizer, "step", capture)
        session.step(dataset, ALL, 1e-3, kind)
    for parameter in (*session.weights.parameters.values(), *session.activation.parameters.values()):
        parameter.grad = None
    return seen


@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen3", "phi3"])
def test_the_head_at_answer_positions_gives_the_plain_loss(start, random_dataset, family: str):
    session = start(family)
    dataset = random_dataset(LENGTHS)
    batch = collate(dataset.rows, 0, torch.device("cpu"))
    labels = torch.full_like(batch.input_ids, -100)
    for index, row in enumerate(dataset.rows):
        labels[index, len(row.prompt_ids) : row.length] = torch.tensor(row.answer_ids)
    context = routing_context(session.model)
    assert context is not None
    with context.prompt(batch.prompt_mask):
        states, head = answer_states(session.model, batch)
        logits = head(states)
        plain = session.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    expected = functional.cross_entropy(plain[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
    found = functional.cross_entropy(logits, batch.targets)
    assert logits.shape == (sum(answer for _, answer in LENGTHS), 96)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("method", ["milora", "lora"])
@pytest.mark.parametrize("kind", get_args(Group))
def test_a_step_does_not_depend_on_the_micro_batch(start, random_dataset, monkeypatch, method: str, kind: Group):
    if method == "lora" and kind == "activation":
        with pytest.raises(MiloraError, match="no parameters in the group 'activation'"):
            start(method="lora").step(random_dataset(LENGTHS), ALL, 1e-3, kind)
        return
    dataset = random_dataset(LENGTHS)
    gradients, figures = [], []
    for micro_batch in (1, 4, 16):
        session = start(method=method, dtype=torch.float64, micro_batch=micro_batch, balance=0.5)
        gradients.append(step_gradients(session, monkeypatch, dataset, kind))
        figures += session.figures()
    for other, figure in zip(gradients[1:], figures[1:], strict=True):
        assert figure.loss == pytest.approx(figures[0].loss, abs=1e-6)
        assert figure.balance == pytest.approx(figures[0].balance, abs=1e-6)
        assert (figure.tokens, figure.answer_tokens) == (sum(map(sum, LENGTHS)), sum(a for _, a in LENGTHS))
        assert other.keys() == gradients[0].keys()
        for name, gradient in other.items():
            assert torch.allclose(gradient, gradients[0][name], rtol=1e-9, atol=1e-12), name


def test_the_balance_loss_pulls_on_the_router(start, random_dataset, monkeypatch):
    with_balance, without = (
        step_gradients(start(dtype=torch.float64, balance=b), monkeypatch, random_dataset(LENGTHS)) for b in (1.0, 0.0)
    )
    differing = {name for name in with_balance if not torch.allclose(with_balance[name], without[name], atol=1e-12)}
    assert any("projection" in name for name in differing)


@pytest.mark.parametrize(("kind", "other"), [("weights", "activation"), ("activation", "weights")])
def test_a_step_on_one_group_leaves_the_other_alone(start, random_dataset, kind, other):
    session = start(balance=0.1, weight_decay=0.1)
    dataset = random_dataset(LENGTHS)
    session.step(dataset, ALL, 1e-3, other)
    before = values(session, other)
    optimizer = getattr(session, other).adamw
    moments = {p: {k: v.clone() for k, v in state.items()} for p, state in optimizer.state.items()}
    own = values(session, kind)
    session.step(dataset, ALL, 1e-3, kind)
    assert moved(session, kind, own)
    assert not moved(session, other, before)
    for parameter, state in moments.items():
        assert parameter.grad is None
        assert parameter.requires_grad
        for name, value in state.items():
            assert torch.equal(optimizer.state[parameter][name], value)


def test_a_step_without_answer_tokens_changes_nothing(start):
    session = start(weight_decay=0.5)
    before = values(session, "weights")
    session.step(NO_ANSWER, [0, 1], 1e-2, "weights")
    (figure,) = session.figures()
    assert (figure.loss, figure.gradient_norm, figure.answer_tokens) == (None, None, 0)
    assert not moved(session, "weights", before)
    assert session.figures() == []


def test_rows_without_answer_tokens_are_skipped(start, random_dataset, monkeypatch):
    full = random_dataset(LENGTHS)
    mixed = Dataset((*full.rows, *NO_ANSWER.rows), "")
    plain = step_gradients(start(balance=0.1), monkeypatch, full)
    session = start(balance=0.1)
    session.step(mixed, range(len(mixed.rows)), 0.0, "weights")
    assert session.figures()[0].answer_tokens == sum(answer for _, answer in LENGTHS)
    assert step_gradients(start(balance=0.1), monkeypatch, mixed).keys() == plain.keys()


def test_a_gradient_that_is_not_finite_skips_the_update(start, random_dataset):
    dataset = random_dataset(LENGTHS)
    session, reference = start(weight_decay=0.1), start(weight_decay=0.1)
    for each in (session, reference):
        each.step(dataset, ALL, 1e-3, "weights")
    norm = session.model.get_base_model().model.norm.weight
    good = norm.detach().clone()
    norm.data.fill_(float("inf"))
    before = values(session, "weights")
    session.step(dataset, ALL, 1e-3, "weights")
    assert not moved(session, "weights", before)
    norm.data.copy_(good)
    for each in (session, reference):
        each.step(dataset, ALL, 1e-3, "weights")
    assert not moved(session, "weights", values(reference, "weights"))
    fine, bad, after = session.figures()
    assert fine.gradient_norm is not None
    assert after.loss is not None
    assert (bad.loss, bad.gradient_norm) == (None, None)


def test_an_expert_that_no_prompt_chose_moves_as_with_a_gradient_of_zero():
    settings = {"betas": (0.9, 0.99), "epsilon": 1e-8, "weight_decay": 0.1}
    chosen, unchosen = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    group = GroupOptimizer({"chosen": chosen, "unchosen": unchosen}, **settings, max_gradient_norm=None)
    reference = torch.nn.Parameter(torch.ones(3))
    plain = torch.optim.AdamW([reference], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1, foreach=False)
    for was_chosen in (True, False, False):
        gradient = torch.tensor([1.0, -2.0, 0.5])
        chosen.grad = gradient.clone()
        unchosen.grad = gradient.clone() if was_chosen else None
        reference.grad = gradient * was_chosen
        before = unchosen.detach().clone()
        group.step(0.1)
        plain.step()
        assert not torch.equal(unchosen, before)
        assert torch.allclose(unchosen, reference, atol=1e-6)


def test_gradients_are_clipped_to_the_norm(start, random_dataset):
    parameter = torch.nn.Parameter(torch.zeros(2))
    settings = {"betas": (0.0, 0.0), "epsilon": 1.0, "weight_decay": 0.0}
    group = GroupOptimizer({"x": parameter}, **settings, max_gradient_norm=1.0)
    parameter.grad = torch.tensor([3.0, 4.0])
    assert group.step(1.0).item() == pytest.approx(5.0)
    # With these betas Adam's step is g / (|g| + 1).
    assert parameter.tolist() == pytest.approx([-0.6 / 1.6, -0.8 / 1.8], rel=1e-5)


def test_trainables_are_float32_over_a_bfloat16_base(start, random_dataset):
    session = start(dtype=torch.bfloat16)
    assert {p.dtype for p in session.activation.parameters.values()} == {torch.float32}
    before = values(session, "activation")
    session.step(random_dataset(LENGTHS), ALL, 1e-6, "activation")
    assert moved(session, "activation", before)


def test_data_loss_is_the_sum_over_rows(start, random_dataset, silent):
    session = start()
    dataset = random_dataset(LENGTHS)
    context = routing_context(session.model)

    def loss(rows, micro_batch):
        return data_loss(
            session.model,
            dataset,
            rows,
            context=context,
            records=True,
            micro_batch=micro_batch,
            pad_id=0,
            on_step=silent,
        )

    whole = loss(ALL, 5)
    single = [loss([index], 1) for index in ALL]
    assert whole.nll == pytest.approx(sum(each.nll for each in single), rel=1e-6)
    assert whole.answer_tokens == sum(answer for _, answer in LENGTHS)
    assert whole.routing is not None
    assert whole.routing.prompts == len(LENGTHS)
    assert all(sum(layer) == len(LENGTHS) for layer in whole.routing.argmax)
    assert all(sum(layer) == 2 * len(LENGTHS) for layer in whole.routing.chosen)
    other = loss(ALL, 16).routing
    assert other is not None
    assert whole.routing.balance == pytest.approx(other.balance, rel=1e-5)
    session.step(dataset, ALL, 0.0, "weights")
    assert session.figures()[0].balance == pytest.approx(whole.routing.balance, rel=1e-5)


def test_dev_perplexity_is_that_of_all_tokens_and_no_mean_of_batches(start, random_dataset, silent):
    """Trap 8, the part of this side: sums that add up over chunks of any size."""
    session = start()
    # One long answer and many short ones: a mean of batches would weigh them alike.
    dataset = random_dataset([(6, 40), *[(4, 1)] * 7])
    context = routing_context(session.model)

    def loss(rows, micro_batch=1):
        return data_loss(
            session.model,
            dataset,
            rows,
            context=context,
            records=True,
            micro_batch=micro_batch,
            pad_id=0,
            on_step=silent,
        )

    whole = loss(range(8))
    chunks = [loss([0]), loss(range(1, 5)), loss(range(5, 8))]
    assert sum(chunk.nll for chunk in chunks) == pytest.approx(whole.nll, rel=1e-6)
    assert sum(chunk.answer_tokens for chunk in chunks) == whole.answer_tokens == 47
    perplexity = math.exp(whole.nll / whole.answer_tokens)
    means = [math.exp(chunk.nll / chunk.answer_tokens) for chunk in chunks]
    assert abs(sum(means) / 3 - perplexity) > 0.1 * perplexity
    assert loss(range(8), 8).nll == pytest.approx(whole.nll, rel=1e-6)


def test_data_loss_of_rows_without_answers_is_zero_over_zero(start, silent):
    session = start()
    settings = {"context": None, "records": False, "micro_batch": 4, "pad_id": 0, "on_step": silent}
    loss = data_loss(session.model, NO_ANSWER, [0, 1], **settings)
    assert (loss.nll, loss.answer_tokens, loss.routing) == (0.0, 0, None)


def test_a_loss_that_is_not_finite_is_no_number(start, random_dataset, silent):
    session = start()
    session.model.get_base_model().model.norm.weight.data.fill_(float("inf"))
    context = routing_context(session.model)
    settings = {"context": context, "records": True, "micro_batch": 4, "pad_id": 0, "on_step": silent}
    with pytest.raises(MiloraError) as caught:
        data_loss(session.model, random_dataset(LENGTHS), ALL, **settings)
    assert caught.value.code == "training/non-finite"


def test_a_row_past_the_end_is_named(start):
    with pytest.raises(MiloraError, match="no row 7"):
        start().step(NO_ANSWER, [0, 7], 1e-3, "weights")
