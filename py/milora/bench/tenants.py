"""The speed of a batch of many tenants: our engine, its own base, and PEFT's ``adapter_names``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedModel

from milora.bench.decode import DecodeMethod
from milora.bench.generations import Report, Turn, same_tokens, take_turns
from milora.bench.step_bytes import StepBytes, adapter_bytes, base_bytes, key_value_bytes, whole_bytes
from milora.bench.tenant_engines import PeftTenants, ResidentTenants, TenantBatch, TenantTexts
from milora.bench.turns import median_ratio
from milora.errors import MiloraError
from milora.training.memory import free_bytes

TenantEngine = Literal["milora", "peft"]

_SHARE_OF_MEMORY = 0.8
_COPIES = 2
"""The engine's adapters, and at most once more the stacks that a batch reads."""
_PEFT_ITEM_BYTES = 4
"""PEFT holds its adapters in float32."""


@dataclass(frozen=True)
class TenantBench:
    """What is measured: for each number of tenants, and of rows of each, every method beside the base.

    ``methods``: each tenant has an adapter of its own of each. ``peer``: the plan of PEFT's LoRAs; None: they are not
    measured. ``rounds``: measured texts of each batch; one more before them is not. ``row_seconds``: the most that one
    row's texts may take together. ``context_length``: the model's.
    """

    methods: Sequence[DecodeMethod]
    peer: dict[str, Any] | None
    tenants: tuple[int, ...]
    rows_per_tenant: tuple[int, ...]
    prompt_tokens: int
    new_tokens: int
    rounds: int
    row_seconds: float
    context_length: int | None = None

    @property
    def texts(self) -> TenantTexts:
        """What the batches write."""
        most_rows = max(self.tenants) * max(self.rows_per_tenant)
        return TenantTexts(most_rows, self.prompt_tokens, self.new_tokens, self.context_length)


@dataclass(frozen=True)
class TenantRow:
    """Medians over the rounds, tokens of all rows together; ratios are of the texts of one round each.

    ``ratio_to_base``: against our engine's base at the same batch, for both engines. ``ratio_to_peft``: against PEFT's
    LoRAs at the same batch, None where they are not measured. ``same_tokens``: whether PEFT wrote the same; known for
    our engine's LoRAs, which are the same ones. ``new_tokens``: the fewest of a text; less than asked for where the
    time ran out. ``step_bytes``: what a step reads.
    """

    method: DecodeMethod
    batch: TenantBatch
    engine: TenantEngine
    tokens_per_second: float
    base_tokens_per_second: float
    ratio_to_base: float
    ratio_to_peft: float | None
    same_tokens: bool | None
    new_tokens: int
    step_bytes: StepBytes


@dataclass(frozen=True)
class Skipped:
    """What could not be measured, and why."""

    tenants: int
    engine: TenantEngine
    reason: str


@dataclass(frozen=True)
class TenantFigures:
    """``slow_because``: why our engine does not run the base fused; None: it does."""

    rows: list[TenantRow]
    skipped: list[Skipped]
    slow_because: str | None


@dataclass(frozen=True)
class _Contender:
    """``method``: None for the base."""

    method: DecodeMethod | None
    batch: TenantBatch
    engine: TenantEngine


@dataclass(frozen=True)
class _Engines:
    """Both engines, and the most tenants that each has memory for."""

    ours: ResidentTenants
    peft: PeftTenants | None
    our_most: int
    peft_most: int


def time_tenants(base: PreTrainedModel, bench: TenantBench, report: Report) -> TenantFigures:
    """Times batches of all sizes in turn.

    Raises:
        MiloraError: ``adapter/unsupported`` for a method that the engine does not run, ``input/invalid-spec`` for more
            tokens than the model's context has, ``memory/exhausted`` where no batch has room.
    """
    engines, skipped = _open(base, bench, report)
    found = _lineup(bench, engines)
    taken = take_turns(
        [
            engines.peft.generator(contender.batch)
            if engines.peft is not None and contender.engine == "peft"
            else engines.ours.generator(contender.method, contender.batch)
            for contender in found
        ],
        rounds=bench.rounds,
        row_seconds=bench.row_seconds,
        new_tokens=bench.new_tokens,
        report=report,
    )
    pairs = dict(zip(found, taken, strict=True))
    rows = [
        _row(contender, pairs, engines, _step_bytes(base, bench, contender, own[-1], engines))
        for contender, own in pairs.items()
        if contender.method is not None
    ]
    return TenantFigures(rows, skipped, engines.ours.slow_because)


def _open(base: PreTrainedModel, bench: TenantBench, report: Report) -> tuple[_Engines, list[Skipped]]:
    ours = ResidentTenants(base, bench.methods, bench.texts)
    peft = None if bench.peer is None else PeftTenants(base, bench.peer, bench.texts)
    free = free_bytes(base.device)
    each = _COPIES * sum(whole_bytes(adapter, base.dtype.itemsize) for adapter in ours.adapters.values())
    our_most, skipped = _fitting(bench, "milora", each, free)
    if our_most == 0:
        raise MiloraError("memory/exhausted", skipped[0].reason, hint="Ask for fewer tenants, or a smaller rank.")
    ours.load(our_most, report)
    if peft is None:
        return _Engines(ours, None, our_most, 0), skipped
    both = each + whole_bytes(peft.adapter, _PEFT_ITEM_BYTES)
    peft_most, without = _fitting(bench, "peft", both, free)
    problem = peft.attach(peft_most, report) if peft_most > 0 else None
    if problem is not None:
        without = [Skipped(count, "peft", problem) for count in bench.tenants]
        return _Engines(ours, None, our_most, 0), [*skipped, *without]
    return _Engines(ours, peft, our_most, peft_most), [*skipped, *without]


def _fitting(bench: TenantBench, engine: TenantEngine, each: int, free: int | None) -> tuple[int, list[Skipped]]:
    """The most tenants that there is memory for, ``each`` taking so many bytes, and those that are too many."""
    if free is None:
        return max(bench.tenants), []
    fitting = [count for count in bench.tenants if count * each <= _SHARE_OF_MEMORY * free]
    skipped = [
        Skipped(
            count,
            engine,
            f"The adapters of {count} tenants may take {count * each / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are "
            f"free, of which {_SHARE_OF_MEMORY:.0%} may be used.",
        )
        for count in bench.tenants
        if count not in fitting
    ]
    return max(fitting, default=0), skipped


def _lineup(bench: TenantBench, engines: _Engines) -> list[_Contender]:
    """All batches; a base of as many rows stands once."""
    found: dict[_Contender, None] = {}
    batches = [TenantBatch(count, each) for count in bench.tenants for each in bench.rows_per_tenant]
    for batch in batches:
        if batch.tenants > engines.our_most:
            continue
        found[_base_of(batch)] = None
        found |= {_Contender(method, batch, "milora"): None for method in bench.methods}
        if engines.peft is not None and batch.tenants <= engines.peft_most:
            found[_Contender(engines.peft.method, batch, "peft")] = None
    return list(found)


def _base_of(batch: TenantBatch) -> _Contender:
    return _Contender(None, TenantBatch(1, batch.rows), "milora")


def _row(
    contender: _Contender, pairs: dict[_Contender, list[Turn]], engines: _Engines, step_bytes: StepBytes
) -> TenantRow:
    method, batch, own = contender.method, contender.batch, pairs[contender]
    assert method is not None
    base = pairs[_base_of(batch)]
    peft = None if engines.peft is None else pairs.get(_Contender(engines.peft.method, batch, "peft"))

    def ratio(other: list[Turn]) -> float:
        return median_ratio([turn.step for turn in other], [turn.step for turn in own])

    def speed(turns: list[Turn]) -> float:
        return batch.rows / statistics.median(turn.step for turn in turns)

    same = None
    if peft is not None and engines.peft is not None and contender.engine == "milora":
        same = same_tokens(own[-1], peft[-1]) if method.config == engines.peft.method.config else None
    return TenantRow(
        method=method,
        batch=batch,
        engine=contender.engine,
        tokens_per_second=speed(own),
        base_tokens_per_second=speed(base),
        ratio_to_base=ratio(base),
        ratio_to_peft=None if peft is None else ratio(peft),
        same_tokens=same,
        new_tokens=min(turn.new_tokens for turn in own),
        step_bytes=step_bytes,
    )


def _step_bytes(
    base: PreTrainedModel, bench: TenantBench, contender: _Contender, turn: Turn, engines: _Engines
) -> StepBytes:
    batch, method = contender.batch, contender.method
    if contender.engine == "peft" and engines.peft is not None:
        adapters = batch.tenants * whole_bytes(engines.peft.adapter, _PEFT_ITEM_BYTES)
    else:
        assert method is not None
        own, item = engines.ours.adapters[method], base.dtype.itemsize
        adapters = sum(adapter_bytes(own, turn.gates[batch.rows_of(tenant)], item) for tenant in range(batch.tenants))
    return StepBytes(
        base=base_bytes(base),
        adapters=adapters,
        keys_values=key_value_bytes(base, batch.rows, bench.prompt_tokens, bench.new_tokens),
    )
