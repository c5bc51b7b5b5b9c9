"""The speed of decoding for one prompt: adapters in our engine and in transformers' ``generate``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from transformers import PreTrainedModel

from milora.bench.generations import (
    EngineGenerator,
    Generator,
    HfGenerator,
    HfPrompts,
    Report,
    Turn,
    hf_twin,
    same_tokens,
    take_turns,
)
from milora.bench.made_up import Adapter, made_up_adapter, made_up_prompts, trained_adapter
from milora.bench.turns import median_ratio
from milora.checkpoint import attach_adapter
from milora.engine.fused import Engine, EngineLimits, EngineRequest
from milora.engine.fused.cache import KvCache
from milora.errors import MiloraError

EngineName = Literal["milora", "hf"]

_NAME = "default"
_NORMS_EACH_TIME = (
    "The engine computes DoRA's norms once, when it loads an adapter; only PEFT computes them at every token."
)


@dataclass(frozen=True, eq=False)
class DecodeMethod:
    """An adapter that decodes; without ``config`` and ``folder`` it is the bare base model.

    ``top_k``: for the row; the plan has it too. ``caches_norms``: whether DoRA's norms are computed once a text rather
    than at each token. ``folder``: of a trained adapter, in place of a made-up one.
    """

    name: str
    top_k: int | None = None
    config: dict[str, Any] | None = None
    caches_norms: bool = True
    folder: str | None = None

    @property
    def is_base(self) -> bool:
        """Whether there is no adapter."""
        return self.config is None


@dataclass(frozen=True)
class DecodeSizes:
    """``prompt_tokens``: of the one prompt; ``context_length``: the model's."""

    prompt_tokens: int
    new_tokens: int
    beams: tuple[int, ...]
    context_length: int | None = None


@dataclass(frozen=True)
class DecodeBench:
    """What is measured: the base and every method at every number of beams.

    ``methods``: adapters. ``peer``: whether all go through transformers' ``generate`` too. ``compiled``: whether the
    engine's rows stand there compiled as well. ``rounds``: measured texts of each; one more before them is not.
    ``row_seconds``: the most that one row's texts may take together.
    """

    methods: Sequence[DecodeMethod]
    sizes: DecodeSizes
    rounds: int
    row_seconds: float
    peer: bool = False
    compiled: bool = False


@dataclass(frozen=True)
class DecodeContender:
    """One row of the bench; ``hf_because``: why transformers' ``generate`` stands where the engine should.

    ``compiled``: the engine's decode step is.
    """

    method: DecodeMethod
    beams: int
    engine: EngineName
    hf_because: str | None = None
    compiled: bool = False


@dataclass(frozen=True)
class DecodeRow:
    """Medians over the rounds; ratios are of the texts of one round each.

    ``tokens_per_second``: of the text, whatever the beams, without the prompt. ``ratio_to_base``: against the base
    with the same beams in the same engine, compiled alike. ``ratio_to_hf_base``: against transformers' base with
    the same beams, None where that is not measured. ``new_tokens``: the fewest of a text; less than asked for
    where the time ran out. ``same_tokens``: whether the other engine, of a compiled row the plain one, wrote the
    same; None where it is not measured.
    """

    contender: DecodeContender
    tokens_per_second: float
    ratio_to_base: float
    ratio_to_hf_base: float | None
    prefill_seconds: float
    new_tokens: int
    same_tokens: bool | None


class Decoders:
    """Makes what takes turns: one engine for all adapters, one twin of the base for each method in transformers."""

    def __init__(self, base: PreTrainedModel, sizes: DecodeSizes) -> None:
        self._base = base
        self._sizes = sizes
        vocabulary = base.config.get_text_config().vocab_size
        (self._prompt,) = made_up_prompts(1, sizes.prompt_tokens, vocabulary)
        self._adapters: dict[DecodeMethod, Adapter] = {}
        self._resident: dict[DecodeMethod, str] = {}
        self._models: dict[DecodeMethod, Any] = {}

    @cached_property
    def engine(self) -> Engine:
        """Our engine; making it fuses the base's weights."""
        return self._engine(compiled=False)

    @cached_property
    def compiled_engine(self) -> Engine:
        """Our engine with compiled steps, and the adapters that the other one has by now."""
        engine = self._engine(compiled=True)
        for method, name in self._resident.items():
            engine.load(name, self._adapters[method].config, self._adapters[method].tensors)
        return engine

    def _engine(self, *, compiled: bool) -> Engine:
        sizes = self._sizes
        rows, tokens = max(sizes.beams), sizes.prompt_tokens + sizes.new_tokens
        limits = EngineLimits(
            max_rows=rows,
            max_cells=KvCache.cells(rows, tokens),
            prefill_tokens=sizes.prompt_tokens,
            context_length=sizes.context_length,
        )
        return Engine(self._base, limits, compiled=compiled)

    def contenders(self, method: DecodeMethod, beams: int, *, peer: bool, compiled: bool) -> list[DecodeContender]:
        """The rows of a method: in the engine, or why it is not there, and in transformers where asked or needed."""
        because = self._refusal(method)
        if because is not None:
            return [DecodeContender(method, beams, "hf", because)]
        found = [DecodeContender(method, beams, "milora")]
        if compiled:
            found.append(DecodeContender(method, beams, "milora", compiled=True))
        if peer:
            found.append(DecodeContender(method, beams, "hf"))
        return found

    def generator(self, contender: DecodeContender) -> Generator:
        """What writes a contender's texts."""
        sizes, method = self._sizes, contender.method
        if contender.engine == "milora":
            refusal = self._refusal(method)
            assert refusal is None, refusal
            request = EngineRequest(
                prompt_ids=self._prompt,
                adapter=self._resident.get(method),
                max_new_tokens=sizes.new_tokens,
                beams=contender.beams,
            )
            engine = self.compiled_engine if contender.compiled else self.engine
            return EngineGenerator(engine, [request], self._base.device)
        asked = HfPrompts([self._prompt], sizes.new_tokens, contender.beams)
        return HfGenerator(self._model(method), asked, caches_norms=method.caches_norms)

    def prepare(self, method: DecodeMethod) -> None:
        """Makes or reads a method's adapter."""
        if method.config is None or method in self._adapters:
            return
        made = method.folder is None
        self._adapters[method] = (
            made_up_adapter(self._base, method.config) if made else trained_adapter(str(method.folder))
        )

    def _refusal(self, method: DecodeMethod) -> str | None:
        """Why the engine doesn't run a method; None: its adapter is resident."""
        if method.is_base or method in self._resident:
            return None
        if not method.caches_norms:
            return _NORMS_EACH_TIME
        self.prepare(method)
        adapter = self._adapters[method]
        name = method.name if method.name not in self._resident.values() else f"{method.name}-{len(self._resident)}"
        try:
            self.engine.load(name, adapter.config, adapter.tensors)
        except MiloraError as error:
            if error.code != "adapter/unsupported":
                raise
            return error.message
        self._resident[method] = name
        return None

    def _model(self, method: DecodeMethod) -> Any:
        if method not in self._models:
            self.prepare(method)
            model: Any = hf_twin(self._base)
            if not method.is_base:
                adapter = self._adapters[method]
                model = attach_adapter(model, adapter.config, _NAME, adapter.tensors)
            self._models[method] = model
        return self._models[method]


def trained_method(folder: str) -> DecodeMethod:
    """The method of a trained adapter.

    Raises:
        MiloraError: as :func:`milora.checkpoint.read_adapter`.
    """
    config = trained_adapter(folder).config
    peft_type = str(config["peft_type"])
    if peft_type == "LORA":
        return DecodeMethod("dora" if config.get("use_dora") else "lora", None, config, folder=folder)
    if peft_type == "MILORA_PROMPT":
        name = "midora" if config.get("expert") == "dora" else "milora"
        return DecodeMethod(name, config["top_k"], config, folder=folder)
    return DecodeMethod(peft_type.removeprefix("MILORA_").lower().replace("_", "-"), None, config, folder=folder)


def time_decoding(base: PreTrainedModel, bench: DecodeBench, report: Report) -> tuple[list[DecodeRow], str | None]:
    """Times texts of all rows in turn; also gives why the engine doesn't run the base fused, None: it does.

    Raises:
        MiloraError: ``input/invalid-spec`` for more tokens than the model's context has.
    """
    decoders = Decoders(base, bench.sizes)
    for done, method in enumerate(bench.methods, start=1):
        decoders.prepare(method)
        report("adapters", done, len(bench.methods))
    found = _lineup(decoders, bench)
    generators = [decoders.generator(contender) for contender in found]
    taken = take_turns(
        generators,
        rounds=bench.rounds,
        row_seconds=bench.row_seconds,
        new_tokens=bench.sizes.new_tokens,
        report=report,
    )
    pairs = list(zip(found, taken, strict=True))
    return [_row(contender, own, pairs) for contender, own in pairs], decoders.engine.slow_because


def _lineup(decoders: Decoders, bench: DecodeBench) -> list[DecodeContender]:
    """All rows, by beams; transformers' base stands with whatever runs there."""
    base = DecodeMethod("base")
    found: list[DecodeContender] = []
    for beams in bench.sizes.beams:
        rows = [
            row
            for method in bench.methods
            for row in decoders.contenders(method, beams, peer=bench.peer, compiled=bench.compiled)
        ]
        needs_hf = bench.peer or any(row.engine == "hf" for row in rows)
        found += [*decoders.contenders(base, beams, peer=needs_hf, compiled=bench.compiled), *rows]
    return found


def _row(
    contender: DecodeContender, own: list[Turn], pairs: Sequence[tuple[DecodeContender, list[Turn]]]
) -> DecodeRow:
    def turns_of(engine: EngineName, method: DecodeMethod | None, compiled: bool = False) -> list[Turn] | None:
        for other, taken in pairs:
            is_wanted = other.method.is_base if method is None else other.method is method
            if is_wanted and (other.engine, other.beams, other.compiled) == (engine, contender.beams, compiled):
                return taken
        return None

    def ratio(base: list[Turn]) -> float:
        return median_ratio([turn.step for turn in base], [turn.step for turn in own])

    base, hf_base = turns_of(contender.engine, None, contender.compiled), turns_of("hf", None)
    assert base is not None
    is_plain = contender.engine == "milora" and not contender.compiled
    other = turns_of("hf" if is_plain else "milora", contender.method)
    return DecodeRow(
        contender=contender,
        tokens_per_second=1 / statistics.median(turn.step for turn in own),
        ratio_to_base=ratio(base),
        ratio_to_hf_base=None if hf_base is None else ratio(hf_base),
        prefill_seconds=statistics.median(turn.prefill for turn in own),
        new_tokens=min(turn.new_tokens for turn in own),
        same_tokens=None if other is None else same_tokens(own[-1], other[-1]),
    )
