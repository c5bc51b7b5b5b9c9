"""The order of turns, the ratios made of them, and the time that a turn may take."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from milora.bench.generations import EngineGenerator, HfGenerator, HfPrompts, Turn, hf_twin, same_tokens, take_turns
from milora.bench.turns import median_ratio, turns
from milora.engine.fused import Engine, EngineLimits, EngineRequest

PROMPT = tuple(range(3, 9))
LIMITS = EngineLimits(max_rows=4, max_cells=1024, prefill_tokens=64)


def test_every_round_has_each_once_and_begins_with_another_one() -> None:
    order = list(turns(3, rounds=3))
    rounds = [order[start : start + 3] for start in range(0, 12, 3)]
    assert [[index for index, _ in one] for one in rounds] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]
    assert [{counts for _, counts in one} for one in rounds] == [{False}, {True}, {True}, {True}]


def test_a_ratio_is_the_median_of_pairs_not_the_pair_of_medians() -> None:
    # The machine was ten times slower in the second round, for both.
    assert median_ratio([2.0, 30.0, 4.0], [1.0, 10.0, 1.0]) == 3.0


def test_a_turn_tells_prompt_and_steps_apart() -> None:
    turn = Turn(first=0.7, steps=(0.1, 0.3), tokens=((1, 2, 3, 4),))
    assert (turn.step, turn.new_tokens) == (pytest.approx(0.2), 4)
    assert turn.prefill == pytest.approx(0.5)
    assert Turn(first=0.1, steps=(0.3,), tokens=None).prefill == 0.0


def test_tokens_are_the_same_or_not_or_not_known() -> None:
    one, other = Turn(1.0, (1.0,), ((1, 2, 3),)), Turn(2.0, (2.0,), ((1, 2, 4),))
    assert same_tokens(one, one) is True
    assert same_tokens(one, other) is False
    assert same_tokens(one, Turn(1.0, (1.0,), None)) is None


class Recorded:
    """A generator that notes when it ran, and what it was allowed."""

    def __init__(self, name: str, log: list[tuple[str, float]]) -> None:
        self._name, self._log = name, log

    def run(self, seconds: float, on_token: Any) -> Turn:
        self._log.append((self._name, seconds))
        for _ in range(4):
            on_token()
        return Turn(1.0, (0.5, 0.5), None)


def test_the_time_of_a_row_is_shared_by_its_turns_and_progress_only_grows() -> None:
    log: list[tuple[str, float]] = []
    told: list[tuple[str, int, int]] = []
    both = [Recorded("one", log), Recorded("other", log)]
    taken = take_turns(both, rounds=2, row_seconds=9.0, new_tokens=4, report=lambda *step: told.append(step))
    assert Counter(log) == {("one", 3.0): 3, ("other", 3.0): 3}
    assert [len(own) for own in taken] == [2, 2]
    done = [count for _, count, _ in told]
    assert done == sorted(done)
    assert told[-1] == ("tokens", 24, 24)


@pytest.mark.parametrize("beams", [1, 2])
def test_no_token_ends_a_text_and_both_engines_write_the_same(tiny_model: Any, beams: int) -> None:
    base = tiny_model("llama").requires_grad_(False)
    written = HfGenerator(hf_twin(base), HfPrompts([PROMPT], 1 + 7, beams)).run(60.0, lambda: None).tokens
    assert written is not None
    (first,) = written
    # From now on every token that it writes would end a text.
    base.generation_config.eos_token_id = sorted(set(first))
    theirs = HfGenerator(hf_twin(base), HfPrompts([PROMPT], 8, beams)).run(60.0, lambda: None)
    request = EngineRequest(prompt_ids=PROMPT, max_new_tokens=8, beams=beams)
    ours = EngineGenerator(Engine(base, LIMITS), [request], torch.device("cpu")).run(60.0, lambda: None)
    assert ours.tokens == theirs.tokens == (first,)
    assert len(ours.steps) == len(theirs.steps) == 6
    assert ours.first > 0
    assert theirs.first > 0


@pytest.mark.parametrize("beams", [1, 2])
def test_a_turn_whose_time_is_over_is_cut_short_and_the_next_one_is_whole(tiny_model: Any, beams: int) -> None:
    base = tiny_model("llama").requires_grad_(False)
    request = EngineRequest(prompt_ids=PROMPT, max_new_tokens=30, beams=beams)
    ours = EngineGenerator(Engine(base, LIMITS), [request], torch.device("cpu"))
    for generator in (ours, HfGenerator(hf_twin(base), HfPrompts([PROMPT], 30, beams))):
        cut = generator.run(0.0, lambda: None)
        assert (cut.tokens, cut.new_tokens) == (None, 3)
        assert generator.run(60.0, lambda: None).new_tokens == 30


def test_a_bench_that_is_told_to_end_leaves_no_request_behind(tiny_model: Any) -> None:
    engine = Engine(tiny_model("llama").requires_grad_(False), LIMITS)
    request = EngineRequest(prompt_ids=PROMPT, max_new_tokens=30)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EngineGenerator(engine, [request, request], torch.device("cpu")).run(60.0, stop)
    assert engine.is_idle
