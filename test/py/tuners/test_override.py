"""Elastic k, masked experts and kept decisions, by row; with padding, beams and caches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from milora.checkpoint import attach_adapter
from milora.errors import MiloraError
from milora.routing.context import RoutingContext, routing_context
from milora.routing.decision import cached_decision

TOP_K = 3
NAMES = ["q", "k", "v", "o", "gate", "up", "down"]
NUM_NEW = 5


@pytest.fixture
def build(
    tiny_model: Callable[..., PreTrainedModel],
    milora_plan: Callable[..., dict[str, Any]],
    randomize: Callable[..., None],
) -> Callable[..., Any]:
    def make(seed: int = 0, **changes: Any) -> Any:
        base = tiny_model("llama")
        attached = attach_adapter(base, milora_plan(base, **{"top_k": TOP_K, **changes}), "default")
        randomize(attached, "default", seed=seed, scale=0.5)
        return attached.eval()

    return make


@pytest.fixture
def model(build: Callable[..., Any]) -> Any:
    return build()


def context_of(model: Any) -> RoutingContext:
    context = routing_context(model)
    assert context is not None
    return context


def batch() -> dict[str, Tensor]:
    ids = torch.randint(2, 96, (3, 12), generator=torch.Generator().manual_seed(4))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    mask[2, :2] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


def row(index: int) -> dict[str, Tensor]:
    inputs = batch()
    kept = inputs["attention_mask"][index].bool()
    return {name: value[index : index + 1, kept] for name, value in inputs.items()}


def recorded(model: Any, inputs: dict[str, Tensor], **override: Any) -> Any:
    context = context_of(model)
    with torch.no_grad(), context.override(**override), context.record() as record:
        model(**inputs, use_cache=False)
    return record


def generated(model: Any, inputs: dict[str, Tensor], override: dict[str, Any], **settings: Any) -> Tensor:
    with context_of(model).override(**override):
        ids = model.generate(**inputs, max_new_tokens=NUM_NEW, do_sample=False, **settings)
    return ids[:, inputs["input_ids"].shape[1] :]


@pytest.mark.parametrize("gate", ["scaled", "probability", "none"])
def test_a_lower_k_follows_the_same_rule(build: Callable[..., Any], gate: str) -> None:
    model = build(gate=gate)
    found = recorded(model, batch(), top_k=[1, None, 2])
    first = found.probabilities[0]
    for index, k in enumerate((1, TOP_K, 2)):
        kept = first[index].argsort(descending=True)[:k]
        expected = torch.zeros(7)
        values = {"scaled": first[index, kept] / first[index, kept].sum() * k, "probability": first[index, kept]}
        expected[kept] = values.get(gate, torch.ones(k))
        assert torch.allclose(found.gates[index, 0], expected, atol=1e-6)
        assert ((found.gates[index] > 0).sum(dim=-1) == k).all()
    # Every row at k = 1 is the same weights attached with k = 1.
    lower = build(gate=gate, top_k=1)
    assert torch.allclose(recorded(model, batch(), top_k=torch.tensor([1])).gates, recorded(lower, batch()).gates)


def test_masked_experts_are_never_active(model: Any) -> None:
    free = recorded(model, batch())
    banned = int(free.gates[1, 0].argmax())
    names: list[list[str] | None] = [None, [name for name in NAMES if name != NAMES[banned]], ["q", "down"]]
    found = recorded(model, batch(), allowed=names)
    assert torch.equal(found.gates[0], free.gates[0])
    assert float(found.gates[1, :, banned].abs().max()) == 0
    assert (found.gates[1] > 0).sum(dim=-1).tolist() == [TOP_K] * 3
    assert (found.gates[2] > 0).sum(dim=-1).tolist() == [2] * 3
    assert torch.allclose(found.gates[2].sum(dim=-1), torch.full((3,), 2.0))
    mask = torch.tensor([[listed is None or name in listed for name in NAMES] for listed in names])
    assert torch.equal(recorded(model, batch(), allowed=mask).gates, found.gates)
    both = recorded(model, batch(), allowed=mask, top_k=[2, 1, 1])
    assert (both.gates > 0).sum(dim=-1).unique().tolist() == [1, 2]


def test_with_all_experts_masked_the_model_is_its_base(model: Any) -> None:
    none = torch.zeros(1, 7, dtype=torch.bool)
    with torch.no_grad(), context_of(model).override(allowed=none):
        masked = model(**row(1)).logits
    with torch.no_grad(), model.disable_adapter():
        assert torch.equal(masked, model(**row(1)).logits)


@pytest.mark.parametrize(
    "settings",
    [{}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}, {"use_cache": False}],
    ids=["greedy", "beams", "returned", "uncached"],
)
@pytest.mark.parametrize("kind", ["top_k", "allowed", "decision"])
def test_a_batch_equals_single_prompts(model: Any, kind: str, settings: dict[str, Any]) -> None:
    swapped = recorded(model, batch()).gates[[2, 0, 1]]
    by_row: dict[str, Any] = {
        "top_k": [1, None, 2],
        "allowed": [["q", "o"], None, ["up", "down", "k"]],
        "decision": swapped,
    }
    values = by_row[kind]
    together = generated(model, batch(), {kind: values}, **settings)
    alone = [generated(model, row(index), {kind: values[index : index + 1]}, **settings) for index in range(3)]
    assert torch.equal(together, torch.cat(alone))
    free = model.generate(**batch(), max_new_tokens=NUM_NEW, do_sample=False, **settings)[:, 12:]
    assert not torch.equal(together, free), "the override changes nothing: the test is blind"


def test_a_kept_decision_is_the_routers_own(model: Any) -> None:
    record = recorded(model, batch())
    with torch.no_grad():
        expected = model(**batch()).logits
        with context_of(model).override(decision=record.gates), context_of(model).record() as again:
            assert torch.equal(model(**batch()).logits, expected)
    assert torch.equal(again.gates, record.gates)
    assert again.probabilities == []
    assert again.balance_loss() is None
    assert torch.equal(again.chosen_counts(), record.chosen_counts())
    assert int(again.first_choice_counts().sum()) == 0


@pytest.mark.parametrize("midora", [False, True])
def test_a_second_turn_on_the_first_ones_cache(build: Callable[..., Any], midora: bool) -> None:
    model = build(expert="dora" if midora else "lora")
    context = context_of(model)
    first = row(1)["input_ids"]
    with context.record() as record:
        done = model.generate(input_ids=first, max_new_tokens=NUM_NEW, do_sample=False, return_dict_in_generate=True)
    decision = record.gates
    second = torch.cat([done.sequences, row(2)["input_ids"]], dim=1)
    with pytest.raises(
        MiloraError, match=r"an earlier prompt filled.*whole conversation.*override\(decision"
    ) as caught:
        model.generate(input_ids=second, past_key_values=copy.deepcopy(done.past_key_values), max_new_tokens=2)
    assert caught.value.code == "adapter/unsupported"
    with context.override(top_k=[1]), pytest.raises(MiloraError, match="an earlier prompt filled"):
        model.generate(input_ids=second, past_key_values=copy.deepcopy(done.past_key_values), max_new_tokens=2)
    settings = {"max_new_tokens": 8, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    with context.override(decision=decision):
        reused = model.generate(input_ids=second, past_key_values=copy.deepcopy(done.past_key_values), **settings)
        fresh = model.generate(input_ids=second, **settings)
        uncached = model.generate(input_ids=second, use_cache=False, **settings)
    assert torch.equal(reused.sequences, fresh.sequences)
    assert torch.equal(reused.sequences, uncached.sequences)
    assert torch.allclose(torch.stack(reused.logits), torch.stack(fresh.logits), rtol=1e-4, atol=1e-4)
    own = model.generate(input_ids=second, **settings)
    assert not torch.allclose(torch.stack(own.logits), torch.stack(fresh.logits), atol=1e-2), "the test is blind"
    # Another decision than the cache's is used too, and kept.
    other = recorded(model, row(0)).gates
    with context.override(decision=other):
        switched = model.generate(input_ids=second, past_key_values=done.past_key_values, **settings)
    assert not torch.allclose(torch.stack(switched.logits), torch.stack(reused.logits), atol=1e-2)


def test_an_override_ends_with_its_block_and_does_not_reach_a_filled_cache(model: Any) -> None:
    context = context_of(model)
    with torch.no_grad():
        expected = recorded(model, batch()).gates
        with pytest.raises(ZeroDivisionError), context.override(top_k=[1]):
            raise ZeroDivisionError
        assert torch.equal(recorded(model, batch()).gates, expected)
        cache = DynamicCache()
        with context.override(top_k=[1]):
            model(**row(1), past_key_values=cache)
        inside = model(input_ids=row(1)["input_ids"][:, :1], past_key_values=copy.deepcopy(cache)).logits
        with context.override(top_k=[2]):
            assert torch.equal(model(input_ids=row(1)["input_ids"][:, :1], past_key_values=cache).logits, inside)


def test_a_given_decision_stays_on_the_cache(model: Any) -> None:
    context = context_of(model)
    other = recorded(model, row(0)).gates
    token = row(1)["input_ids"][:, :1]
    with torch.no_grad():
        given, own = DynamicCache(), DynamicCache()
        model(**row(1), past_key_values=own)
        with context.override(decision=other):
            model(**row(1), past_key_values=given)
            inside = model(input_ids=token, past_key_values=copy.deepcopy(given)).logits
        after = copy.deepcopy(given)
        assert torch.equal(model(input_ids=token, past_key_values=after).logits, inside)
        assert not torch.allclose(model(input_ids=token, past_key_values=copy.deepcopy(own)).logits, inside, atol=1e-2)
        with context.override(decision=other):
            model(input_ids=token, past_key_values=own)
        decision: Any = cached_decision(own, "default")
        assert all(torch.equal(decision.gates[layer], other[:, layer]) for layer in range(3))


def test_backward_sees_the_override_of_its_forward_pass(model: Any) -> None:
    """Where a checkpointed layer runs its hooks again in backward, the block has ended by then."""
    context = context_of(model)
    seen: list[object] = []
    leaf = torch.ones(1, requires_grad=True)
    value = leaf * 2
    value.register_hook(lambda _gradient: seen.append(context.overriding))
    with context.override(top_k=[1]):
        inside = context.overriding
    value.backward()
    assert inside is not None
    assert seen == [inside]
    assert context.overriding is None


def test_an_override_in_training_holds_for_a_recomputed_layer(build: Callable[..., Any]) -> None:
    gradients = []
    for checkpointed in (False, True):
        model = build().train()
        if checkpointed:
            model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
        with context_of(model).override(top_k=[1, 2, 1]):
            loss = model(**batch(), use_cache=False).logits.square().mean()
        loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert set(gradients[0]) == set(gradients[1])
    assert [name for name in gradients[0] if not torch.equal(gradients[0][name], gradients[1][name])] == []


def test_a_fixed_policy_takes_any_cache_and_no_override(build: Callable[..., Any]) -> None:
    model = build(chosen=[["q", "down"], ["o"], []])
    with torch.no_grad():
        expected = model(**row(1)).logits
        with model.disable_adapter():
            cache = model(input_ids=row(1)["input_ids"][:, :4], use_cache=True).past_key_values
        assert model(input_ids=row(1)["input_ids"][:, 4:], past_key_values=cache).logits.shape[1] == 8
        done = model.generate(**row(1), max_new_tokens=2, do_sample=False, return_dict_in_generate=True)
        longer = torch.cat([done.sequences, done.sequences[:, :3]], dim=1)
        again = model.generate(
            input_ids=longer, past_key_values=done.past_key_values, max_new_tokens=4, do_sample=False
        )
        assert torch.equal(again, model.generate(input_ids=longer, max_new_tokens=4, do_sample=False))
    overrides: list[dict[str, Any]] = [{"top_k": [1]}, {"allowed": [["q"]]}, {"decision": torch.ones(1, 3, 7)}]
    for override in overrides:
        with pytest.raises(MiloraError, match="'default' has a fixed policy"), context_of(model).override(**override):
            model(**row(1))
    with torch.no_grad():
        assert torch.equal(model(**row(1)).logits, expected)


@pytest.mark.parametrize(
    ("override", "pattern"),
    [
        ({"top_k": [4]}, "asks for 4 experts; adapter 'default' was trained with 3"),
        ({"top_k": [0]}, r"top_k is \[0\]; it must hold a whole number of at least 1"),
        ({"top_k": []}, r"top_k is \[\]"),
        ({"top_k": [1.5]}, r"top_k is \[1.5\]"),
        ({"top_k": [1, 1]}, "top_k is given for 2 rows; the forward pass has 1"),
        ({"allowed": [["q", "w"]]}, "allowed names 'w'; adapter 'default' has the experts down, gate"),
        ({"allowed": ["q"]}, "a list of names"),
        ({"allowed": torch.ones(1, 7)}, "float32; it must be booleans"),
        ({"allowed": torch.ones(1, 6, dtype=torch.bool)}, r"shape \[1, 6\].*7 experts"),
        ({"allowed": [["q"], ["k"]]}, "allowed is given for 2 rows"),
        ({"decision": torch.ones(1, 2, 7)}, r"shape \[1, 2, 7\].*3 layers, 7 experts"),
        ({"decision": torch.ones(2, 3, 7)}, "decision is given for 2 rows; the forward pass has 1"),
        ({"decision": torch.ones(1, 3, 7), "top_k": [1]}, "without top_k and allowed"),
    ],
)
def test_what_an_adapter_cannot_take(model: Any, override: dict[str, Any], pattern: str) -> None:
    with pytest.raises(MiloraError, match=pattern, check=lambda error: error.code == "adapter/unsupported"):
        recorded(model, row(1), **override)
    # The error does not stick.
    assert recorded(model, row(1)).gates.shape == (1, 3, 7)
