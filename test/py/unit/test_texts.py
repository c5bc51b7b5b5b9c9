"""Texts by the engine where it serves, through transformers where not: the same texts, and one batch."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from milora.data import Prompt, TextEncoder
from milora.engine import AdapterHost, GenerationRequest, GenerationSettings, generate, generate_texts
from milora.errors import CancelledError
from milora.models import choose_placement, open_model, resolve_source

LEARNED = ("t-milora", "t-midora", "t-probability")
METHODS = (*LEARNED, "t-fixed", "t-lora", "t-dora", "t-bitfit", "t-prefix", "t-block", None)
TEXTS = ("Hi", "What is this?", "a" * 60, "b c d e f " * 4)


class World:
    """A tiny model with an adapter of every kind, as PEFT holds them."""

    def __init__(self, checkpoint, plans, randomize) -> None:
        placement = choose_placement("cpu", "float32", "auto")
        opened = open_model(resolve_source(str(checkpoint)), placement, 0, lambda done, total: None)
        self.base = opened.model
        self.encoder = TextEncoder(opened.tokenizer)
        self.host = AdapterHost(opened.model)
        for seed, (name, plan) in enumerate(plans(opened.model).items()):
            randomize(self.host.attach(name, plan, seed), name, seed=seed)

    def texts(
        self, requests, *, beams=1, new_tokens=7, way=generate_texts, on_step=lambda done, total: None, cut=False
    ):
        settings = GenerationSettings(new_tokens, beams, explain=True, cut_prompts=cut)
        return way(self.host, self.encoder, requests, settings, max_length=256, on_step=on_step)


_worlds: list[World] = []


@pytest.fixture
def world(checkpoint, milora_plan, lora_plan, planned, randomize) -> World:
    """Made once: texts change nothing of it."""

    def plans(model):
        return {
            "t-milora": milora_plan(model, top_k=3),
            "t-midora": milora_plan(model, top_k=2, expert="dora", pooler="average"),
            "t-probability": milora_plan(model, top_k=1, gate="probability", only=["q", "down"]),
            "t-fixed": milora_plan(model, chosen=[["q"], ["v", "down"]]),
            "t-lora": lora_plan(model, rank=3),
            "t-dora": lora_plan(model, use_dora=True),
            "t-bitfit": planned(model, "MILORA_BITFIT", only=["q", "up"], vector=8),
            "t-prefix": planned(model, "MILORA_P_TUNING_V2", only=["attention"], tokens=3, embedding=6),
            "t-block": planned(model, "MILORA_PARALLEL_ADAPTER", only=["ffn"], bottleneck=4, scale=2.0),
        }

    if not _worlds:
        _worlds.append(World(checkpoint, plans, randomize))
    return _worlds[0]


def mixed_requests() -> list[GenerationRequest]:
    """Each adapter with a prompt of another length, and every change of a routing."""
    asked = [GenerationRequest(Prompt(TEXTS[at % len(TEXTS)]), name) for at, name in enumerate(METHODS)]
    (kept,) = (request for request in asked if request.adapter == "t-milora")
    return [
        *asked,
        replace(kept, top_k=1),
        replace(kept, allowed=("q", "o", "down"), keeps_decision=True),
        replace(asked[1], prompt=Prompt("Something else"), top_k=1, keeps_decision=True),
    ]


@pytest.fixture
def through_transformers(world, monkeypatch):
    """How many rows have gone through transformers' generate since."""
    rows: list[int] = []
    original = type(world.base).generate

    def count(model, *args, **inputs):
        rows.append(len(inputs["input_ids"]))
        return original(model, *args, **inputs)

    monkeypatch.setattr(type(world.base), "generate", count)
    return rows


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert replace(one, routing=None, decision=None) == replace(other, routing=None, decision=None)
        assert (one.routing is None, one.decision is None) == (other.routing is None, other.decision is None)
        if one.routing is not None:
            assert one.routing.experts == other.routing.experts
            for gates, wanted in zip(one.routing.gates, other.routing.gates, strict=True):
                assert gates == pytest.approx(wanted, abs=1e-5)
        if one.decision is not None:
            torch.testing.assert_close(one.decision, other.decision, atol=1e-5, rtol=0)


@pytest.mark.parametrize("beams", [1, 3])
def test_both_ways_give_the_same(world, through_transformers, beams: int):
    requests = mixed_requests()
    expected = world.texts(requests, beams=beams, way=generate)
    through_transformers.clear()
    found = world.texts(requests, beams=beams)
    # BitFit, prefix and block adapters, each in a batch of its own.
    assert through_transformers == [1, 1, 1]
    assert_same(found, expected)
    assert len({output.text for output in found}) > len(METHODS) // 2
    decision = found[-1].decision
    assert decision is not None
    kept = [GenerationRequest(Prompt("Hi"), "t-midora", decision=decision, keeps_decision=True)]
    assert_same(world.texts(kept, beams=beams), world.texts(kept, beams=beams, way=generate))


def test_what_the_engine_serves_runs_in_one_batch(world, through_transformers, monkeypatch):
    rows: list[int] = []
    fused = sys.modules["milora.engine.fused.decoder"].FusedDecoder
    original = fused.decode

    def count(decoder, ids, *args):
        rows.append(len(ids))
        return original(decoder, ids, *args)

    monkeypatch.setattr(fused, "decode", count)
    requests = [GenerationRequest(Prompt(text), name) for text, name in zip(TEXTS, (*LEARNED, None), strict=True)]
    world.texts(requests, new_tokens=3)
    assert rows[0] == len(requests)
    assert through_transformers == []


def test_another_rule_of_the_checkpoint_is_kept(world, through_transformers, monkeypatch):
    requests = [GenerationRequest(Prompt("a b a b a b"), "t-lora")]
    plain = world.texts(requests)
    assert through_transformers == []
    monkeypatch.setattr(world.base.generation_config, "temperature", 0.5)
    assert world.texts(requests) == plain
    assert through_transformers == []
    monkeypatch.setattr(world.base.generation_config, "repetition_penalty", 9.0)
    penalised = world.texts(requests)
    assert through_transformers == [1]
    assert penalised != plain


def test_an_adapter_is_taken_as_it_is_at_each_call(world):
    requests = [GenerationRequest(Prompt(text), "t-milora") for text in TEXTS]
    before = world.texts(requests)
    with world.host.use("t-milora") as active, torch.no_grad():
        moved = [tensor for name, tensor in active.model.named_parameters() if "up.t-milora" in name]
        assert moved
        for tensor in moved:
            tensor.neg_()
        after = world.texts(requests)
        assert_same(after, world.texts(requests, way=generate))
        for tensor in moved:
            tensor.neg_()
    assert after != before
    assert_same(world.texts(requests), before)


def test_what_overflows_in_the_engine_falls_to_transformers(world, through_transformers, monkeypatch):
    poisoned = {key: torch.full_like(tensor, float("nan")) for key, tensor in world.host.state("t-lora").items()}
    states = {"t-lora": poisoned}
    original = world.host.state
    monkeypatch.setattr(world.host, "state", lambda name: states.get(name) or original(name))
    requests = [GenerationRequest(Prompt("Hi"), name) for name in ("t-milora", "t-lora", "t-dora")]
    found = world.texts(requests)
    assert through_transformers == [1]
    assert_same(found, world.texts(requests, way=generate))


def test_cut_prompts_cancels_and_progress(world):
    seen: list[tuple[int, int]] = []
    long = [GenerationRequest(Prompt("word " * 200), name) for name in ("t-milora", "t-bitfit", None)]
    found = world.texts(long, cut=True, on_step=lambda *step: seen.append(step))
    assert [output.truncated for output in found] == [True] * 3
    assert_same(found, world.texts(long, cut=True, way=generate))
    assert seen == sorted(seen)
    assert seen[-1] == (21, 21)

    def cancel(done: int, total: int) -> None:
        if done > 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        world.texts(long, cut=True, on_step=cancel)
    assert_same(world.texts(long, cut=True), found)


def test_a_text_that_ends_early_is_done_with_all_of_its_tokens(world, monkeypatch):
    requests = [GenerationRequest(Prompt(text), "t-milora") for text in TEXTS]
    monkeypatch.setattr(world.encoder, "stop_ids", range(world.base.config.vocab_size))
    seen: list[int] = []
    found = world.texts(requests, on_step=lambda done, total: seen.append(done))
    assert [output.new_tokens for output in found] == [1] * 4
    assert seen == sorted(seen)
    # The last step of the engine, then the end of the call.
    assert seen[-2:] == [28, 28]
