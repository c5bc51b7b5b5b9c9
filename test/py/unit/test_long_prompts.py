"""Prompts that the model's context has no room for: refused, or cut at their start and told."""

from __future__ import annotations

import importlib
import time

import pytest

from milora.data import Prompt, TextEncoder
from milora.engine import AdapterHost, GenerationRequest, GenerationSettings, ScoringRow, generate, score_choices
from milora.errors import MiloraError
from milora.models import choose_placement, open_model, resolve_source

CONTEXT = 256
LONG = "word " * 20_000


class World:
    """The tiny model without an adapter."""

    def __init__(self, checkpoint) -> None:
        placement = choose_placement("cpu", "float32", "auto")
        opened = open_model(resolve_source(str(checkpoint)), placement, 0, lambda done, total: None)
        self.encoder = TextEncoder(opened.tokenizer)
        self.host = AdapterHost(opened.model)

    def generate(self, *texts, new_tokens=8, cut=True):
        settings = GenerationSettings(new_tokens, cut_prompts=cut)
        asked = [GenerationRequest(Prompt(text), None) for text in texts]
        return generate(self.host, self.encoder, asked, settings, max_length=CONTEXT, on_step=lambda done, total: None)

    def score(self, *rows, micro_batch=32):
        asked = [ScoringRow(Prompt(prompt), choices) for prompt, choices in rows]
        with self.host.use(None) as active:
            return score_choices(
                active,
                self.encoder,
                asked,
                micro_batch=micro_batch,
                max_length=CONTEXT,
                on_step=lambda done, total: None,
            )


@pytest.fixture
def world(checkpoint) -> World:
    return World(checkpoint)


def test_a_generated_answer_has_room_behind_what_is_left_of_its_prompt(world):
    long, short = world.generate(LONG, "Hi")
    assert (long.truncated, short.truncated) == (True, False)
    assert long.prompt_tokens == CONTEXT - 8
    ids = world.encoder.prompt_ids([Prompt(LONG)])[0]
    start = len(world.encoder.start_ids)
    kept = world.encoder.tokenizer.decode(ids[-(CONTEXT - 8 - start) :])
    assert world.generate(kept)[0].text == long.text
    assert world.generate("Hi")[0] == short


def test_a_prompt_is_refused_where_it_may_not_be_cut_or_can_not(world):
    with pytest.raises(MiloraError, match=r"requests\[1\]: the prompt has \d+ tokens"):
        world.generate("Hi", LONG, cut=False)
    with pytest.raises(MiloraError, match="no room for a prompt and 256 new"):
        world.generate("Hi", new_tokens=CONTEXT)


def test_scored_rows_tell_that_their_prompt_was_cut(world):
    long, short = world.score((LONG, (" a", " b c")), ("Hi", (" a", " b c")))
    assert [choice.truncated for choice in long] == [True, True]
    assert [choice.truncated for choice in short] == [False, False]


def test_a_long_row_widens_no_batch_beyond_its_bound(world, monkeypatch):
    rows = [("Hi there " * 2, (" a", " b c")) for _ in range(6)] + [(LONG, (" a", " b c"))]
    together = world.score(*rows)
    sizes: list[int] = []
    score = importlib.import_module("milora.engine.score")
    original = score.logits_at

    def count(model, predicted, **inputs):
        mask = inputs["attention_mask"]
        sizes.append(mask.shape[0] * mask.shape[-1])
        return original(model, predicted, **inputs)

    monkeypatch.setattr(score, "logits_at", count)
    monkeypatch.setattr("milora.engine.packing.MAX_TOKENS", 2 * CONTEXT)
    apart = world.score(*rows)
    assert len(sizes) > 1
    assert max(sizes) <= 2 * CONTEXT
    for one, other in zip(together, apart, strict=True):
        assert [choice.log_likelihood for choice in one] == pytest.approx(
            [choice.log_likelihood for choice in other], abs=1e-4
        )


def test_a_hundred_kilobytes_take_no_longer_than_the_context(world):
    started = time.monotonic()
    world.generate(LONG, LONG, LONG)
    world.score((LONG, (" a", " b")), (LONG, (" a", " b")))
    assert time.monotonic() - started < 20


def test_short_prompts_are_not_padded_to_a_long_one(world, monkeypatch):
    sizes: list[int] = []
    original = world.host._base.generate

    def count(**inputs):
        sizes.append(inputs["input_ids"].numel())
        return original(**inputs)

    monkeypatch.setattr(world.host._base, "generate", count)
    together = world.generate("Hi", "Hi there", LONG)
    assert len(sizes) == 1
    monkeypatch.setattr(importlib.import_module("milora.engine.generate"), "_max_padding", CONTEXT)
    assert world.generate("Hi", "Hi there", LONG) == together
    assert len(sizes) == 3
    assert sum(sizes[1:]) < sizes[0] / 2


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_long_prompts_have_an_attention_without_their_square(checkpoint, monkeypatch, family):
    world = World(checkpoint)
    world.host._base.set_attn_implementation("eager")
    attention = importlib.import_module("milora.engine.attention")
    config = world.host._base.config
    if family == "gemma2":
        # Stands for a model whose logits are soft-capped, which SDPA would leave out.
        monkeypatch.setattr(config, "attn_logit_softcapping", 50.0, raising=False)
    rows = [("Hi there " * 6, (" a", " b c")), ("Hi", (" a", " b c"))]
    eager, text = world.score(*rows), world.generate("Hi there " * 6)[0].text
    used: list[str | None] = []
    forward = world.host._base.model.layers[0].self_attn.forward

    def watch(*args, **inputs):
        used.append(config._attn_implementation)
        return forward(*args, **inputs)

    monkeypatch.setattr(world.host._base.model.layers[0].self_attn, "forward", watch)
    monkeypatch.setattr(attention, "_longest_eager", 20)
    long = world.score(rows[0])
    assert set(used) == ({"sdpa"} if family == "llama" else {"eager"})
    used.clear()
    long += world.score(rows[1])
    assert set(used) == {"eager"}
    used.clear()
    assert world.generate("Hi there " * 6)[0].text == text
    assert set(used) == ({"sdpa"} if family == "llama" else {"eager"})
    assert config._attn_implementation == "eager"
    for one, other in zip(eager, long, strict=True):
        assert [choice.log_likelihood for choice in one] == pytest.approx(
            [choice.log_likelihood for choice in other], abs=1e-4
        )


def test_the_attention_is_given_back_after_a_failure(world, monkeypatch):
    world.host._base.set_attn_implementation("eager")
    attention = importlib.import_module("milora.engine.attention")
    monkeypatch.setattr(attention, "_longest_eager", 0)
    config = world.host._base.config
    with pytest.raises(RuntimeError), attention.long_attention(world.host._base, 1):
        assert config._attn_implementation == "sdpa"
        raise RuntimeError
    assert config._attn_implementation == "eager"
