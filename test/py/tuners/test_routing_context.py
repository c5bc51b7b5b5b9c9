"""Where the prompt is, what records hold, and where a decision lives."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

import milora
from milora.checkpoint import attach_adapter
from milora.routing.context import RoutingContext, routing_context
from milora.routing.decision import cached_decision
from milora.tuners import register
from milora.tuners.milora import MiloraLinear

TOP_K = 2


@pytest.fixture
def model(
    tiny_model: Callable[..., PreTrainedModel],
    milora_plan: Callable[..., dict[str, Any]],
    randomize: Callable[..., None],
) -> Any:
    base = tiny_model("llama")
    attached = attach_adapter(base, milora_plan(base, top_k=TOP_K), "default")
    randomize(attached, "default", scale=0.5)
    return attached.eval()


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


def recorded(model: Any, **inputs: Tensor) -> Tensor:
    with torch.no_grad(), context_of(model).record() as record:
        model(**inputs, use_cache=False)
    return record.gates


def test_registering_twice_is_harmless() -> None:
    register()
    register()


def test_prompts_route_differently(model: Any) -> None:
    gates = recorded(model, **batch())
    assert gates.shape == (3, 3, 7)
    assert ((gates > 0).sum(dim=-1) == TOP_K).all()
    assert torch.allclose(gates.sum(dim=-1), torch.full((3, 3), float(TOP_K)))
    assert not torch.equal(gates[0] > 0, gates[1] > 0), "two random prompts chose the same experts in every layer"


def test_route_is_a_boolean_mask_that_ignores_padding_and_answers(model: Any) -> None:
    inputs = batch()
    routed = milora.route(model.train(), inputs)
    assert model.training
    assert routed.dtype == torch.bool
    assert routed.shape == (3, 3, 7)
    assert torch.equal(routed, recorded(model.eval(), **inputs) > 0)
    alone = milora.route(model, {"input_ids": inputs["input_ids"][:1, 5:]})
    assert torch.equal(alone[0], routed[0])
    labels = inputs["input_ids"].clone()
    labels[:, :8] = -100
    shortened = {name: value[:, :8] for name, value in inputs.items()}
    assert torch.equal(milora.route(model, {**inputs, "labels": labels}), milora.route(model, shortened))


def test_labels_and_an_explicit_prompt_mean_the_same(model: Any) -> None:
    inputs = batch()
    labels = inputs["input_ids"].clone()
    labels[:, :8] = -100
    mask = inputs["attention_mask"].bool()
    mask[:, 8:] = False
    by_labels = recorded(model, **inputs, labels=labels)
    with context_of(model).prompt(mask):
        by_mask = recorded(model, **inputs)
        # The caller's mark comes first.
        assert torch.equal(recorded(model, **inputs, labels=inputs["input_ids"]), by_mask)
    assert torch.equal(by_labels, by_mask)
    assert not torch.equal(by_labels, recorded(model, **inputs))
    prompt_only = recorded(model, **{name: value[:, :8] for name, value in inputs.items()})
    assert torch.allclose(by_mask, prompt_only, atol=1e-5)


def test_the_decoder_alone_runs_with_an_explicit_prompt(model: Any) -> None:
    inputs = batch()
    with context_of(model).prompt(inputs["attention_mask"].bool()), torch.no_grad():
        hidden = model.get_base_model().model(**inputs, use_cache=False).last_hidden_state
        logits = model.get_base_model().lm_head(hidden)
        assert torch.equal(logits, model(**inputs, use_cache=False).logits)


def test_positional_arguments_are_understood(model: Any) -> None:
    inputs = batch()
    base = model.get_base_model()
    with torch.no_grad():
        expected = base(**inputs).logits
        assert torch.equal(base(inputs["input_ids"], inputs["attention_mask"]).logits, expected)


def test_records_of_micro_batches_add_up(model: Any) -> None:
    inputs = batch()
    context = context_of(model)
    with torch.no_grad(), context.record() as whole:
        model(**inputs, use_cache=False)
    parts = []
    for rows in (slice(0, 1), slice(1, 3)):
        with torch.no_grad(), context.record() as record:
            model(**{name: value[rows] for name, value in inputs.items()}, use_cache=False)
        parts.append(record)
    counts = sum((part.first_choice_counts() for part in parts), torch.zeros(3, 7, dtype=torch.long))
    assert torch.equal(counts, whole.first_choice_counts())
    assert counts.sum(dim=1).tolist() == [3, 3, 3]
    losses = [part.balance_loss(first_choice_share=counts / 3, num_prompts=3) for part in parts]
    expected = whole.balance_loss()
    assert expected is not None
    found = torch.stack([loss for loss in losses if loss is not None])
    assert len(found) == 2
    assert float(found.sum()) == pytest.approx(float(expected), abs=1e-5)
    assert whole.chosen_counts().sum(dim=1).tolist() == [3 * TOP_K] * 3
    assert whole.num_prompts == 3


def test_a_record_keeps_the_prompts_of_generate(model: Any) -> None:
    inputs = batch()
    with context_of(model).record() as record:
        model.generate(**inputs, max_new_tokens=5, do_sample=False)
    assert torch.allclose(record.gates, recorded(model, **inputs), atol=1e-6)
    with pytest.raises(milora.MiloraError, match="Nothing was routed"), context_of(model).record() as empty:
        _ = empty.gates


def test_interleaved_caches_keep_their_own_decisions(model: Any) -> None:
    inputs = batch()
    rows = [inputs["input_ids"][:1, 5:], inputs["input_ids"][1:2]]
    expected = [model.generate(input_ids=row, max_new_tokens=6, do_sample=False)[0, row.shape[1] :] for row in rows]
    caches: list[Any] = [DynamicCache(), DynamicCache()]
    tokens: list[list[int]] = [[], []]
    with torch.no_grad():
        steps = list(rows)
        for _ in range(6):
            for index in (0, 1):
                output = model(input_ids=steps[index], past_key_values=caches[index])
                steps[index] = output.logits[:, -1:].argmax(dim=-1)
                tokens[index].append(int(steps[index]))
                # A deep copy carries the decision.
                caches[index] = copy.deepcopy(caches[index])
    assert tokens == [row.tolist() for row in expected]


def test_a_reset_cache_takes_a_new_decision(model: Any) -> None:
    inputs = batch()
    first, second = inputs["input_ids"][:1, 5:], inputs["input_ids"][1:2]
    cache = DynamicCache()
    with torch.no_grad():
        model(input_ids=first, past_key_values=cache)
        model(input_ids=first[:, :1], past_key_values=cache)
        cache.reset()
        model(input_ids=second, past_key_values=cache)
        again = model(input_ids=first[:, :1], past_key_values=cache).logits
        fresh = DynamicCache()
        model(input_ids=second, past_key_values=fresh)
        assert torch.equal(again, model(input_ids=first[:, :1], past_key_values=fresh).logits)


def test_decoding_skips_experts_that_no_row_uses(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    original = MiloraLinear._expert

    def counting(self: MiloraLinear, use: Any, x: Tensor, base: Tensor, wide: bool = False) -> Tensor:
        computed.append(use.settings.index)
        return original(self, use, x, base, wide)

    monkeypatch.setattr(MiloraLinear, "_expert", counting)
    prompt = batch()["input_ids"][1:2]
    with torch.no_grad():
        cache = model(input_ids=prompt, use_cache=True).past_key_values
        assert len(computed) == 3 * 7
        decision = cached_decision(cache, "default")
        assert decision is not None
        assert decision.chosen is None, "prefill read the decision from the device"
        computed.clear()
        model(input_ids=prompt[:, :1], past_key_values=cache)
    assert len(computed) == 3 * TOP_K
    chosen_at_decoding: Any = decision.chosen
    assert sorted(index for chosen in chosen_at_decoding.values() for index in chosen) == sorted(computed)


def test_a_fixed_policy_computes_its_own_experts_alone(
    tiny_model: Callable[..., PreTrainedModel],
    milora_plan: Callable[..., dict[str, Any]],
    randomize: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = tiny_model("llama")
    model: Any = attach_adapter(base, milora_plan(base, chosen=[["q", "down"], ["o"], []]), "default")
    randomize(model, "default")
    computed: list[int] = []
    original = MiloraLinear._expert

    def counting(self: MiloraLinear, use: Any, x: Tensor, base: Tensor, wide: bool = False) -> Tensor:
        computed.append(use.settings.index)
        assert use.gate is None
        return original(self, use, x, base, wide)

    monkeypatch.setattr(MiloraLinear, "_expert", counting)
    with torch.no_grad(), context_of(model).record() as record:
        model.eval()(**batch())
    assert computed == [0, 6, 3]
    assert record.chosen_counts().tolist() == [[3, 0, 0, 0, 0, 0, 3], [0, 0, 0, 3, 0, 0, 0], [0] * 7]
    assert record.gates.unique().tolist() == [0, 1]
    assert record.num_prompts == 3
    assert record.balance_loss() is None
    assert not any("prompt_router" in name for name, _ in model.named_parameters())
    assert torch.equal(milora.route(model, batch()), record.gates > 0)


def test_prefill_and_training_do_not_read_tensors_to_the_host(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = batch()
    mask = inputs["attention_mask"].bool()
    reads: list[str] = []
    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "nonzero"):
        original = getattr(Tensor, name)

        def noted(self: Tensor, *args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
            reads.append(_name)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(Tensor, name, noted)
    decoder = model.train().get_base_model().model
    embedded = decoder.embed_tokens(inputs["input_ids"])
    with model.disable_adapter():
        decoder(inputs_embeds=embedded, use_cache=False)
    by_the_base_model = list(reads)
    reads.clear()
    with context_of(model).prompt(mask), context_of(model).record() as record:
        hidden = decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state
        (hidden.sum() + record.balance_loss()).backward()
    assert reads == by_the_base_model


def test_dropout_acts_in_training_only(
    tiny_model: Callable[..., PreTrainedModel],
    milora_plan: Callable[..., dict[str, Any]],
    randomize: Callable[..., None],
) -> None:
    base = tiny_model("llama")
    model = attach_adapter(base, milora_plan(base, lora_dropout=0.5), "default")
    randomize(model, "default")
    inputs = batch()
    with torch.no_grad():
        assert torch.equal(model.eval()(**inputs).logits, model(**inputs).logits)
        assert not torch.equal(model.train()(**inputs).logits, model(**inputs).logits)


def test_the_model_moves_to_other_dtypes_and_through_pickle(model: Any) -> None:
    inputs = batch()
    with torch.no_grad():
        expected = model(**inputs).logits
        copied = pickle.loads(pickle.dumps(model))
        assert torch.equal(copied(**inputs).logits, expected)
        assert torch.equal(copied.generate(**inputs, max_new_tokens=3), model.generate(**inputs, max_new_tokens=3))
        real = inputs["attention_mask"].bool()
        assert torch.allclose(copied.double()(**inputs).logits[real], expected.double()[real], atol=1e-4)
        copied.to(torch.bfloat16)
        with context_of(copied).record() as record:
            assert torch.isfinite(copied(**inputs).logits).all()
        assert record.gates.dtype == torch.float32


def test_router_keeps_float32_under_autocast(model: Any) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert recorded(model, **batch()).dtype == torch.float32


@pytest.mark.parametrize("routed", [False, True])
def test_assisted_decoding_equals_greedy(
    model: Any,
    tiny_model: Callable[..., Any],
    milora_plan: Callable[..., dict[str, Any]],
    randomize: Callable[..., None],
    routed: bool,
) -> None:
    assistant = tiny_model("llama", seed=1)
    if routed:
        randomize(attach_adapter(assistant, milora_plan(assistant), "other"), "other")
    prompt = batch()["input_ids"][1:2]
    greedy = model.generate(input_ids=prompt, max_new_tokens=8, do_sample=False)
    assisted = model.generate(input_ids=prompt, max_new_tokens=8, do_sample=False, assistant_model=assistant)
    assert torch.equal(assisted, greedy)
