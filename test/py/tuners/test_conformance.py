"""One suite that every row of the matrix (``conftest.py``) runs: decoding, gradients, switching adapters."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from milora.checkpoint import attach_adapter
from milora.routing.context import routing_context
from milora.tuners import split_parameters
from milora.tuners.methods import hooks_of

NUM_NEW = 6
SHORT, LONG = 2, 90


def prompts() -> list[Tensor]:
    generator = torch.Generator().manual_seed(11)
    return [torch.randint(2, 96, (1, length), generator=generator) for length in (SHORT, LONG)]


def left_padded(rows: list[Tensor]) -> dict[str, Tensor]:
    longest = max(row.shape[1] for row in rows)
    ids = torch.cat([torch.nn.functional.pad(row, (longest - row.shape[1], 0)) for row in rows])
    mask = torch.cat([torch.nn.functional.pad(torch.ones_like(row), (longest - row.shape[1], 0)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def generate(model: Any, batch: dict[str, Tensor], **settings: Any) -> Tensor:
    """The new tokens only, [rows, NUM_NEW]."""
    settings = {"max_new_tokens": NUM_NEW, "do_sample": False, **settings}
    return model.generate(**batch, **settings)[:, batch["input_ids"].shape[1] :]


def logits(model: torch.nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return model(**batch).logits


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}])
def test_padded_batch_equals_single_prompts(case: Any, settings: dict[str, Any]) -> None:
    model = case.model()
    rows = prompts()
    together = generate(model, left_padded(rows), **settings)
    alone = torch.cat([generate(model, left_padded([row]), **settings) for row in rows])
    assert torch.equal(together, alone)
    base = generate(case.base(), left_padded(rows), **settings)
    assert not torch.equal(together, base), "the adapter changes nothing: the test is blind"


@pytest.mark.parametrize(
    "settings", [{"use_cache": False}, {"cache_implementation": "static"}, {"prompt_lookup_num_tokens": 3}]
)
def test_other_ways_of_decoding_equal_the_dynamic_cache(case: Any, settings: dict[str, Any]) -> None:
    model = case.model()
    # Assisted decoding takes one prompt at a time.
    rows = prompts()[1:] if "prompt_lookup_num_tokens" in settings else prompts()
    batch = left_padded(rows)
    assert torch.equal(generate(model, batch, **settings), generate(model, batch))


def test_padding_is_told_without_an_attention_mask(case: Any) -> None:
    model = case.model()
    batch = left_padded(prompts())
    assert torch.equal(generate(model, {"input_ids": batch["input_ids"]}), generate(model, batch))


def test_teacher_forcing_equals_cached_decoding(case: Any) -> None:
    model = case.model()
    batch = left_padded(prompts())
    output = model.generate(
        **batch, max_new_tokens=NUM_NEW, do_sample=False, output_logits=True, return_dict_in_generate=True
    )
    width = batch["input_ids"].shape[1]
    whole = {
        "input_ids": output.sequences,
        "attention_mask": torch.nn.functional.pad(batch["attention_mask"], (0, NUM_NEW), value=1),
    }
    positions = (whole["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    context = routing_context(model)
    if context is None:
        forced = logits(model, {**whole, "position_ids": positions})
    else:
        with context.prompt(torch.nn.functional.pad(batch["attention_mask"] != 0, (0, NUM_NEW))):
            forced = logits(model, {**whole, "position_ids": positions})
    decoded = torch.stack(output.logits, dim=1)
    assert torch.allclose(forced[:, width - 1 : -1], decoded, rtol=1e-4, atol=1e-4)


def test_disabled_adapter_is_the_base_model(case: Any) -> None:
    model = case.model()
    batch = left_padded(prompts())
    expected = logits(case.base(), batch)
    with model.disable_adapter():
        assert torch.equal(logits(model, batch), expected)
    assert not torch.allclose(logits(model, batch), expected, atol=1e-3)


def test_unload_restores_the_base_model(case: Any) -> None:
    model = case.model()
    batch = left_padded(prompts())
    fresh = case.base()
    bare = model.base_model.unload()
    assert torch.equal(logits(bare, batch), logits(fresh, batch))
    assert [name for name, _ in bare.named_modules()] == [name for name, _ in fresh.named_modules()]
    assert list(bare.state_dict()) == list(fresh.state_dict())
    assert bare.config._attn_implementation == fresh.config._attn_implementation
    assert "generate" not in bare.__dict__
    assert routing_context(bare) is None
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in bare.modules())
    # A second adapter can be put on the bare model, and is the same as on a fresh one.
    again = attach_adapter(bare, case.plan(bare), "default")
    case.randomize(again, "default")
    assert torch.equal(logits(again.eval(), batch), logits(case.model(), batch))


def test_two_adapters(case: Any) -> None:
    if case.variant == "adalora":
        pytest.skip("PEFT trains one AdaLoRA adapter in a model; AdapterHost takes turns with several")
    batch = left_padded(prompts())
    other = case.second
    model = case.model(seed=1)
    attach_adapter(model, case.plan(case.base(), **other), "second", seed=2)
    case.randomize(model, "second", seed=2)
    model.eval()
    assert model.active_adapters == ["second"]

    alone_base = case.base()
    alone = attach_adapter(alone_base, case.plan(alone_base, **other), "second", seed=2)
    case.randomize(alone, "second", seed=2)
    first, second = case.model(seed=1), alone.eval()
    assert torch.equal(logits(model, batch), logits(second, batch))
    assert torch.equal(generate(model, batch), generate(second, batch))
    model.set_adapter("default")
    assert torch.equal(logits(model, batch), logits(first, batch))
    assert torch.equal(generate(model, batch), generate(first, batch))
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    omega, theta = split_parameters(model, "default")
    assert trainable == {*omega, *theta}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.delete_adapter("default")
    model.set_adapter("second")
    assert torch.equal(logits(model, batch), logits(second, batch))
    assert split_parameters(model, "default") == ({}, {})


def test_bfloat16_base(case: Any) -> None:
    base = case.base().to(torch.bfloat16)
    model = attach_adapter(base, case.plan(base), "default")
    case.randomize(model, "default")
    omega, theta = split_parameters(model, "default")
    assert {parameter.dtype for parameter in (*omega.values(), *theta.values())} == {torch.float32}
    batch = left_padded(prompts())
    output = logits(model.eval(), batch)
    assert output.dtype == torch.bfloat16
    assert torch.isfinite(output).all()
    context = routing_context(model)
    if case.routed and context is not None:
        with context.record() as record:
            generate(model, batch)
        assert {p.dtype for p in record.probabilities} == ({torch.float32} if case.learned else set())
        assert record.gates.dtype == torch.float32


def _train_loss(model: Any, batch: dict[str, Tensor], prompt_mask: Tensor) -> Tensor:
    context = routing_context(model)
    labels = batch["input_ids"].masked_fill(prompt_mask | (batch["attention_mask"] == 0), -100)
    if context is None:
        return model(**batch, labels=labels, use_cache=False).loss
    with context.prompt(prompt_mask), context.record() as record:
        loss = model(**batch, labels=labels, use_cache=False).loss
    routes = hooks_of(model, "default").records_prompts(model.peft_config["default"])
    balance = record.balance_loss() if routes else None
    return loss if balance is None else loss + 0.1 * balance


def _gradients(model: Any) -> dict[str, Tensor]:
    omega, theta = split_parameters(model, "default")
    found = {name: parameter.grad for name, parameter in {**omega, **theta}.items()}
    return {name: gradient.clone() for name, gradient in found.items() if gradient is not None}


def _answered() -> tuple[dict[str, Tensor], Tensor]:
    batch = left_padded([prompts()[1][:, :20], prompts()[1][:, 100:109]])
    prompt_mask = batch["attention_mask"] != 0
    prompt_mask[:, -4:] = False
    return batch, prompt_mask


def test_gradients_reach_every_parameter_and_no_other(case: Any) -> None:
    # With k = all every expert is activated; an expert that no prompt chose has no gradient by design.
    model = case.model(**({"top_k": 7} if case.learned else {"chosen": "all"} if case.routed else {})).train()
    batch, prompt_mask = _answered()
    torch.manual_seed(0)
    # A candidate whose gate is drawn as 0 has no gradient; another time it is drawn as more.
    for _ in range(20 if case.searches else 1):
        _train_loss(model, batch, prompt_mask).backward()
    omega, theta = split_parameters(model, "default")
    gradients = _gradients(model)
    assert set(gradients) == {*omega, *theta}
    assert bool(theta) == case.learns_activation
    assert [name for name, gradient in gradients.items() if float(gradient.abs().max()) == 0] == []
    ours = {*omega, *theta}
    assert [name for name, p in model.named_parameters() if p.grad is not None and name not in ours] == []


def test_gradient_checkpointing_gives_the_same_gradients(case: Any) -> None:
    batch, prompt_mask = _answered()
    plain = case.model().train()
    torch.manual_seed(0)
    _train_loss(plain, batch, prompt_mask).backward()
    checkpointed = case.model().train()
    checkpointed.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    torch.manual_seed(0)
    _train_loss(checkpointed, batch, prompt_mask).backward()
    expected, actual = _gradients(plain), _gradients(checkpointed)
    assert set(expected) == set(actual)
    assert [name for name in expected if not torch.equal(expected[name], actual[name])] == []


def test_deep_copies_are_independent(case: Any) -> None:
    batch, prompt_mask = _answered()
    model = case.model()
    # A forward pass with a graph first: what it left behind must not hinder the copy.
    _train_loss(model, batch, prompt_mask)
    clone = copy.deepcopy(model)
    before = generate(model, batch)
    assert torch.equal(generate(clone, batch), before)
    case.randomize(clone, "default", seed=5, scale=1.0)
    assert not torch.equal(logits(clone, batch), logits(model, batch))
    assert torch.equal(generate(model, batch), before)
    if case.routed:
        assert routing_context(clone) is not routing_context(model)
