"""The speed of training: our methods and transformers' Trainer with PEFT's LoRA, a step of each in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedModel

from milora.bench.engines import Engine, SessionEngine, Setting, TrainerEngine, twin, usual_attention
from milora.bench.rows import rows_of
from milora.bench.turns import median_ratio, turns

EngineName = Literal["milora", "hf-trainer"]
OnStep = Callable[[int, int], None]
PEER = "lora"
"""The method of the peer."""


@dataclass(frozen=True)
class Method:
    """One of our methods: its plan, the weight of its balance loss, and whether it counts the steps of a budget."""

    name: str
    config: dict[str, Any]
    balance: float = 0.0
    scheduled: bool = False


@dataclass(frozen=True)
class TrainBench:
    """What is measured: our methods, and the plan of the peer, PEFT's LoRA.

    ``rounds``: measured steps of each engine; one more before them is not. ``compiled``: each of our methods also with
    its layers compiled.
    """

    methods: Sequence[Method]
    peer: dict[str, Any]
    tokens: int
    batch: int
    rounds: int
    compiled: bool = False


@dataclass(frozen=True)
class Row:
    """One engine: medians over the rounds; ratios are of the steps of one round each.

    ``ratio_to_peer``: against the Trainer with the attention that transformers picks; ``ratio_to_eager_peer``: with
    the eager one. ``step_to_lora``: the time of its step over that of our LoRA, compiled alike; None where that is not
    measured.
    """

    method: str
    engine: EngineName
    compiled: bool
    attention: str
    tokens_per_row: int
    tokens_per_second: float
    ratio_to_peer: float
    ratio_to_eager_peer: float
    step_to_lora: float | None


@dataclass(frozen=True)
class Contender:
    """One line of the bench: how an engine is made."""

    method: str
    engine: EngineName
    attention: str
    config: dict[str, Any]
    balance: float = 0.0
    scheduled: bool = False
    compiled: bool = False

    def open(self, base: PreTrainedModel, tokens: int, batch: int) -> Engine:
        """The engine, over the weights of ``base``."""
        rows = rows_of(tokens, batch, base.config.get_text_config().vocab_size)
        setting = Setting(balance=self.balance, scheduled=self.scheduled, compiled=self.compiled)
        kind = TrainerEngine if self.engine == "hf-trainer" else SessionEngine
        return kind(twin(base, self.attention), self.config, rows, setting)


def contenders(base: PreTrainedModel, bench: TrainBench) -> list[Contender]:
    """The peer with the attention that transformers picks, the peer with eager attention, our methods."""
    attention = str(base.config._attn_implementation)
    usual = usual_attention(base)
    peers = [Contender(PEER, "hf-trainer", name, bench.peer) for name in dict.fromkeys((usual, "eager"))]
    ours = [
        Contender(method.name, "milora", attention, method.config, method.balance, method.scheduled, compiled)
        for method in bench.methods
        for compiled in ((False, True) if bench.compiled else (False,))
    ]
    return [*peers, *ours]


def time_training(base: PreTrainedModel, bench: TrainBench, on_step: OnStep) -> list[Row]:
    """Times steps of all engines in turn; each round starts with another one."""
    found = contenders(base, bench)
    engines: list[Engine] = [contender.open(base, bench.tokens, bench.batch) for contender in found]
    seconds: list[list[float]] = [[] for _ in engines]
    total = (bench.rounds + 1) * len(engines)
    for done, (index, counts) in enumerate(turns(len(engines), bench.rounds), start=1):
        taken = engines[index].step()
        if counts:
            seconds[index].append(taken)
        on_step(done, total)
    return [_row(contender, own, found, seconds, bench) for contender, own in zip(found, seconds, strict=True)]


def _row(
    contender: Contender, own: list[float], found: list[Contender], seconds: list[list[float]], bench: TrainBench
) -> Row:
    def times_of(engine: EngineName, method: str, attention: str | None = None) -> list[float] | None:
        for other, taken in zip(found, seconds, strict=True):
            same = (other.engine, other.method) == (engine, method) and attention in (None, other.attention)
            if same and (engine == "hf-trainer" or other.compiled == contender.compiled):
                return taken
        return None

    peer, eager, lora = times_of("hf-trainer", PEER), times_of("hf-trainer", PEER, "eager"), times_of("milora", PEER)
    assert peer is not None
    assert eager is not None
    return Row(
        method=contender.method,
        engine=contender.engine,
        compiled=contender.compiled,
        attention=contender.attention,
        tokens_per_row=bench.tokens,
        tokens_per_second=bench.tokens * bench.batch / statistics.median(own),
        ratio_to_peer=median_ratio(peer, own),
        ratio_to_eager_peer=median_ratio(eager, own),
        step_to_lora=None if lora is None or contender.engine != "milora" else median_ratio(own, lora),
    )


def loss_curves(
    base: PreTrainedModel, config: dict[str, Any], tokens: int, batch: int, steps: int
) -> list[list[float]]:
    """The losses of so many steps of LoRA by our session and by the Trainer, from the same start on the same rows."""
    attention = str(base.config._attn_implementation)
    names: tuple[EngineName, ...] = ("milora", "hf-trainer")
    return [Contender(PEER, name, attention, config).open(base, tokens, batch).losses(steps) for name in names]
