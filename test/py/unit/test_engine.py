"""Generation and scoring: a batch gives what each prompt alone gives; the adapters of one model."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn import functional

from milora.data import Prompt, TextEncoder, TextRow, build_dataset
from milora.engine import AdapterHost, GenerationRequest, GenerationSettings, ScoringRow, generate, score_choices
from milora.errors import CancelledError, MiloraError
from milora.models import choose_placement, open_model, resolve_source
from milora.training import TrainingSession, TrainingSettings

TEXTS = ["Hi", "a" * 120, "What is this?", "b c d e f " * 6, "Hello there"]


class World:
    """A tiny model with its encoder and host."""

    def __init__(self, checkpoint, milora_plan, lora_plan, randomize) -> None:
        placement = choose_placement("cpu", "float32", "auto")
        opened = open_model(resolve_source(str(checkpoint)), placement, 0, lambda done, total: None)
        self.encoder = TextEncoder(opened.tokenizer)
        self.host = AdapterHost(opened.model)
        self.plans = {"milora": milora_plan(opened.model), "lora": lora_plan(opened.model)}
        self._randomize = randomize

    def add(self, name: str, method: str, seed: int) -> None:
        self._randomize(self.host.attach(name, self.plans[method], seed), name, seed=seed)

    def generate(self, *requests, beams=1, new_tokens=12, explain=False, on_step=lambda done, total: None):
        settings = GenerationSettings(new_tokens, beams, explain)
        asked = [GenerationRequest(Prompt(text), adapter) for text, adapter in requests]
        return generate(self.host, self.encoder, asked, settings, max_length=256, on_step=on_step)

    def score(self, adapter, *rows, micro_batch=32):
        asked = [ScoringRow(Prompt(prompt), tuple(choices)) for prompt, choices in rows]
        with self.host.use(adapter) as active:
            return score_choices(
                active, self.encoder, asked, micro_batch=micro_batch, max_length=256, on_step=lambda done, total: None
            )


@pytest.fixture
def world(checkpoint, milora_plan, lora_plan, randomize) -> World:
    return World(checkpoint, milora_plan, lora_plan, randomize)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_mixed_batch_is_each_prompt_alone(world, beams: int):
    world.add("one", "milora", 1)
    world.add("two", "milora", 2)
    world.add("plain", "lora", 3)
    requests = list(zip(TEXTS, ["one", "two", "one", None, "plain"], strict=True))
    requests += [(text, "one") for text in TEXTS]
    together = world.generate(*requests, beams=beams)
    alone = [world.generate(request, beams=beams)[0] for request in requests]
    assert together == alone
    assert len({output.text for output in together}) > 3


def test_a_batch_is_bounded_by_rows_and_tokens(world, monkeypatch):
    sizes: list[int] = []
    requests = [(text, None) for text in TEXTS]
    together = world.generate(*requests)
    original = world.host._base.generate

    def count(**inputs):
        sizes.append(len(inputs["input_ids"]))
        return original(**inputs)

    monkeypatch.setattr(world.host._base, "generate", count)
    # The package exports a function of the module's name.
    module = sys.modules["milora.engine.generate"]
    monkeypatch.setattr(module, "_max_rows", 3)
    assert world.generate(*requests) == together
    monkeypatch.setattr(module, "_max_tokens", 1)
    assert world.generate(*requests) == together
    assert sizes == [3, 2, 1, 1, 1, 1, 1]


def test_greedy_generation_is_the_argmax_of_plain_forward_passes(world):
    (output,) = world.generate(("Hello", None), new_tokens=8)
    ids = world.encoder.prompt_ids([Prompt("Hello")])[0]
    start = len(ids)
    with world.host.use(None) as active, torch.no_grad():
        for _ in range(8):
            ids.append(int(active.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] in world.encoder.stop_ids:
                break
    new = [token for token in ids[start:] if token not in world.encoder.stop_ids]
    assert output.text == world.encoder.decode_continuation(new)
    assert output.new_tokens == len(ids) - start
    assert output.prompt_tokens == start


@pytest.mark.parametrize("beams", [1, 2])
def test_explain_tells_the_chosen_experts(world, beams: int):
    world.add("one", "milora", 1)
    routed, base = world.generate(("Hello", "one"), ("Hello", None), beams=beams, explain=True)
    assert base.routing is None
    assert [len(experts) for experts in routed.routing.experts] == [2, 2]
    for gates in routed.routing.gates:
        assert list(gates) == sorted(gates, reverse=True)
        assert sum(gates) == pytest.approx(2.0, abs=1e-5)
    assert world.generate(("Hello", "one"))[0].routing is None


def test_a_prompt_without_room_is_refused_before_any_work(world):
    def never(done: int, total: int) -> None:
        raise AssertionError

    with pytest.raises(MiloraError, match=r"requests\[1\]") as caught:
        world.generate(("a", None), ("a" * 250, None), on_step=never)
    assert caught.value.code == "input/invalid-spec"


def test_generation_ends_when_cancelled(world):
    seen: list[tuple[int, int]] = []

    def cancel(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        world.generate(("Hello", None), new_tokens=50, on_step=cancel)
    assert seen == [(1, 50), (2, 50), (3, 50)]


def test_one_overfitted_row_generates_its_answer_and_stops(world, silent):
    world.add("one", "milora", 1)
    row = TextRow(Prompt("Who? "), "me, of course", 1)
    dataset = build_dataset(world.encoder, [row], 99, silent)
    with world.host.use("one") as active:
        session = TrainingSession(active.model, "one", TrainingSettings(), world.encoder.pad_id)
        for step in range(250):
            session.step(dataset, [0], 0.03 * (1 - step / 250), "weights")
    loss = session.figures()[-1].loss
    assert loss is not None
    assert loss < 0.01
    (output,) = world.generate(("Who? ", "one"), new_tokens=40)
    assert (output.text, output.stopped) == ("me, of course", True)
    assert output.new_tokens == len(dataset.rows[0].answer_ids)


ROWS = [("What?", [" yes", " no, not at all"]), ("Long prompt " * 5, [" a"]), ("Hi", [" y", " and so on", "x"])]


@pytest.mark.parametrize("adapter", ["one", "plain", None])
def test_scores_of_a_batch_are_scores_alone_and_the_reference(world, adapter):
    world.add("one", "milora", 1)
    world.add("plain", "lora", 2)
    batch = world.score(adapter, *ROWS)
    for micro_batch in (1, 3):
        for row, expected in zip(world.score(adapter, *ROWS, micro_batch=micro_batch), batch, strict=True):
            for found, wanted in zip(row, expected, strict=True):
                assert found.tokens == wanted.tokens
                assert found.log_likelihood == pytest.approx(wanted.log_likelihood, abs=1e-4)
    for (prompt, choices), scores in zip(ROWS, batch, strict=True):
        for choice, score in zip(choices, scores, strict=True):
            log_likelihood, tokens = cached_log_likelihood(world, adapter, prompt, choice)
            assert score.tokens == tokens
            assert score.log_likelihood == pytest.approx(log_likelihood, abs=1e-4)


def cached_log_likelihood(world, adapter, prompt: str, choice: str) -> tuple[float, int]:
    """The prompt first, then the choice on its KV cache, token by token: a router can see the prompt only."""
    prompt_ids = torch.tensor(world.encoder.prompt_ids([Prompt(prompt)]))
    ids = world.encoder.continuation_ids([choice])[0]
    total = 0.0
    with world.host.use(adapter) as active, torch.no_grad():
        output = active.model(input_ids=prompt_ids, use_cache=True)
        for token in ids:
            total += float(functional.log_softmax(output.logits[0, -1].double(), dim=-1)[token])
            output = active.model(
                input_ids=torch.tensor([[token]]), past_key_values=output.past_key_values, use_cache=True
            )
    return total, len(ids)


def test_choices_that_cannot_be_scored_are_named(world):
    with pytest.raises(MiloraError, match=r"rows\[1\]\.choices\[0\] is empty"):
        world.score(None, ("a", ["b"]), ("a", [""]))
    with pytest.raises(MiloraError, match="longer than the model's context"):
        world.score(None, ("a", ["b" * 300]))


def test_methods_take_turns_without_losing_weights(world):
    world.add("one", "milora", 1)
    world.add("two", "milora", 2)
    before = world.score("one", *ROWS)
    base = world.score(None, *ROWS)
    world.add("plain", "lora", 3)
    lora = world.score("plain", *ROWS)
    assert world.score("one", *ROWS) == before
    assert world.score("plain", *ROWS) == lora
    assert world.score(None, *ROWS) == base
    assert len({scores[0][0].log_likelihood for scores in (before, base, lora)}) == 3


def test_an_adapter_comes_back_from_its_folder(world, tmp_path):
    world.add("one", "milora", 1)
    before = world.score("one", *ROWS)
    assert world.host.save("one", tmp_path / "saved") > 0
    world.host.unload("one")
    assert world.host.names == ()
    world.host.load("other", tmp_path / "saved")
    assert world.score("other", *ROWS) == before


def test_unloading_keeps_the_others(world):
    for seed, (name, method) in enumerate([("one", "milora"), ("two", "milora"), ("plain", "lora")]):
        world.add(name, method, seed)
    two, plain, base = (world.score(name, *ROWS) for name in ("two", "plain", None))
    world.host.unload("one")
    assert (world.score("two", *ROWS), world.score("plain", *ROWS)) == (two, plain)
    world.host.unload("plain")
    world.host.unload("two")
    assert world.score(None, *ROWS) == base


def test_wrong_names_and_times(world):
    world.add("one", "milora", 1)
    with pytest.raises(MiloraError, match="Did you mean 'one'") as missing, world.host.use("ome"):
        pass
    assert missing.value.code == "adapter/not-found"
    with pytest.raises(MiloraError) as taken:
        world.add("one", "milora", 1)
    assert taken.value.code == "adapter/bad-name"
    world.host.hold("one")
    for action in (lambda: world.add("plain", "lora", 1), lambda: world.host.unload("one")):
        with pytest.raises(MiloraError) as busy:
            action()
        assert busy.value.code == "adapter/unsupported"
    world.add("two", "milora", 1)
    world.host.hold(None)
    world.host.unload("one")


def test_an_adapter_of_another_model_leaves_no_trace(world, tiny_model, milora_plan, lora_plan):
    base = world.score(None, *ROWS)
    other = tiny_model("qwen3")
    for plan in (milora_plan(other), milora_plan(other, rank=64)):
        with pytest.raises(MiloraError) as caught:
            world.host.attach("one", plan, 0)
        assert caught.value.code == "adapter/mismatch"
    assert world.score(None, *ROWS) == base
    world.add("plain", "lora", 1)
    assert world.host.names == ("plain",)
