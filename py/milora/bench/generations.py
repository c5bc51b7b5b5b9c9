"""The two ways to write a text that are compared: our engine, and transformers' ``generate``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from milora.bench.engines import finish, twin, usual_attention
from milora.bench.turns import turns
from milora.engine.dora import cached_dora
from milora.engine.fused import Engine, EngineRequest, FinishedEvent

LEAST_NEW_TOKENS = 3
"""A turn needs a step after its second token."""

OnToken = Callable[[], None]
Report = Callable[[str, int, int], None]
"""Told a stage, units done, and units in all; raises where the bench is to end."""
TokenRows = tuple[tuple[int, ...], ...]
LayerGates = tuple[tuple[float, ...] | None, ...]
"""By decoder layer the gates of a prompt; None where nothing is adapted."""


@dataclass(frozen=True)
class Turn:
    """One generation of a fixed number of new tokens for some prompts.

    ``first``: seconds until every prompt had its second token: the prompts, what is made once for them (decisions, the
    plan of a batch, DoRA's norms), and a step. ``steps``: seconds of each step after it, a token of every prompt.
    ``tokens``: what was generated; None where the time ran out. ``gates``: of each prompt, from our engine.
    """

    first: float
    steps: tuple[float, ...]
    tokens: TokenRows | None
    gates: tuple[LayerGates | None, ...] = ()

    @property
    def step(self) -> float:
        """Seconds of a step, the mean of this turn."""
        return sum(self.steps) / len(self.steps)

    @property
    def new_tokens(self) -> int:
        """Of every prompt."""
        return len(self.steps) + 2

    @property
    def prefill(self) -> float:
        """Seconds of all that comes before the steps."""
        return max(0.0, self.first - self.step)


class Generator(Protocol):
    """Writes the same texts again at each turn."""

    def run(self, seconds: float, on_token: OnToken) -> Turn:
        """One turn, cut short after so many seconds; ``on_token`` is called after each token and does not count."""
        ...


class EngineGenerator:
    """Requests that join our engine at once and have it for themselves; no token ends them."""

    def __init__(self, engine: Engine, requests: Sequence[EngineRequest], device: torch.device) -> None:
        self._engine = engine
        self._requests = requests
        self._device = device

    def run(self, seconds: float, on_token: OnToken) -> Turn:
        """One turn."""
        engine = self._engine
        laps = _Laps(seconds, self._device)
        ends: list[FinishedEvent] = []
        numbers = [engine.submit(request) for request in self._requests]
        try:
            while not engine.is_idle:
                laps.go()
                events = engine.step(1)
                laps.stop()
                ends += [event for event in events if isinstance(event, FinishedEvent)]
                on_token()
                if laps.are_over(least=LEAST_NEW_TOKENS - 1):
                    break
        finally:
            is_cut = not engine.is_idle
            for number in numbers:
                engine.abort(number)
            ends += [event for event in engine.step(1) if isinstance(event, FinishedEvent)]
        for end in ends:
            if end.error is not None:
                raise end.error
        by_number = {end.request: end for end in ends}
        tokens = None if is_cut else tuple(by_number[number].token_ids for number in numbers)
        gates = tuple(by_number[number].gates for number in numbers)
        # The first step of the engine writes a prompt's first two tokens.
        return Turn(laps.seconds[0], tuple(laps.seconds[1:]), tokens, gates)


@dataclass(frozen=True)
class HfPrompts:
    """What transformers' ``generate`` is asked; ``adapter_names``: of each prompt, for PEFT's mixed batches."""

    prompts: Sequence[Sequence[int]]
    new_tokens: int
    beams: int = 1
    adapter_names: tuple[str, ...] | None = None


class HfGenerator:
    """transformers' ``generate``; ``caches_norms``: DoRA's norms are computed once a call, not at each token.

    Args:
        model: A decoder that :func:`hf_twin` made, or one of PEFT's around it.
        asked: Prompts of one length.
        caches_norms: Whether PEFT's own switch for DoRA is on.
    """

    def __init__(self, model: Any, asked: HfPrompts, *, caches_norms: bool = True) -> None:
        self._model = model
        self._asked = asked
        self._caches_norms = caches_norms

    def run(self, seconds: float, on_token: OnToken) -> Turn:
        """One turn."""
        asked = self._asked
        device = next(self._model.parameters()).device
        ids = torch.tensor([list(prompt) for prompt in asked.prompts], device=device)
        names = {} if asked.adapter_names is None else {"adapter_names": list(asked.adapter_names)}
        watch = _TokenWatch(_Laps(seconds, device), on_token)
        with cached_dora(self._model) if self._caches_norms else contextlib.nullcontext():
            watch.laps.go()
            sequences = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=GenerationConfig(
                    max_new_tokens=asked.new_tokens, num_beams=asked.beams, do_sample=False, pad_token_id=0
                ),
                stopping_criteria=StoppingCriteriaList([watch]),
                **names,
            )
        laps = watch.laps.seconds
        new_ids = sequences[:, ids.shape[1] :].tolist()
        tokens = tuple(tuple(row) for row in new_ids) if len(laps) == asked.new_tokens else None
        return Turn(laps[0] + laps[1], tuple(laps[2:]), tokens)


def hf_twin(base: PreTrainedModel) -> PreTrainedModel:
    """A model over the same weights as a user of transformers has it, but for its end token, which ends nothing."""
    other = twin(base, usual_attention(base))
    # generate() fills what its own config leaves open from this one.
    other.generation_config = GenerationConfig(pad_token_id=0)
    return other


def take_turns(
    generators: Sequence[Generator], *, rounds: int, row_seconds: float, new_tokens: int, report: Report
) -> list[list[Turn]]:
    """The measured turns of each, one a round; all of one's turns together take ``row_seconds`` at most."""
    most = row_seconds / (rounds + 1)
    total = (rounds + 1) * len(generators) * new_tokens
    taken: list[list[Turn]] = [[] for _ in generators]
    done = 0

    def on_token() -> None:
        nonlocal done
        done += 1
        report("tokens", min(done, total), total)

    for turn, (index, counts) in enumerate(turns(len(generators), rounds)):
        done = turn * new_tokens
        result = generators[index].run(most, on_token)
        if counts:
            taken[index].append(result)
    report("tokens", total, total)
    return taken


def same_tokens(one: Turn, other: Turn) -> bool | None:
    """Whether two turns wrote the same; None where one of them was cut short."""
    if one.tokens is None or other.tokens is None:
        return None
    return one.tokens == other.tokens


class _Laps:
    """Seconds of steps one after another; what is done between ``stop`` and ``go`` does not count."""

    def __init__(self, most: float, device: torch.device) -> None:
        self._most = most
        self._device = device
        self._start = 0.0
        self.seconds: list[float] = []

    def go(self) -> None:
        self._start = time.perf_counter()

    def stop(self) -> None:
        finish(self._device)
        self.seconds.append(time.perf_counter() - self._start)

    def are_over(self, least: int) -> bool:
        """Whether the time is used up; so many laps are done in any case."""
        return len(self.seconds) >= least and sum(self.seconds) >= self._most


class _TokenWatch(StoppingCriteria):
    """Asked after each token: keeps its time, and ends the call when it has taken too long.

    It does not raise for that: PEFT leaves its hooks of a mixed batch behind when a call fails.
    """

    def __init__(self, laps: _Laps, on_token: OnToken) -> None:
        self.laps = laps
        self._on_token = on_token

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.laps.stop()
        self._on_token()
        is_over = self.laps.are_over(least=LEAST_NEW_TOKENS)
        over = torch.full((input_ids.shape[0],), is_over, dtype=torch.bool, device=input_ids.device)
        self.laps.go()
        return over
