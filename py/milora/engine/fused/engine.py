"""Continuous batching: requests of many tenants join and leave one batch between steps."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from milora.engine.fused.batch import RowBatch
from milora.engine.fused.cache import KvCache
from milora.engine.fused.decoder import FusedDecoder
from milora.engine.fused.joining import padded_tokens, prefill_batches
from milora.engine.fused.request import EngineEvent, EngineRequest, FinishedEvent, Reason, TokenEvent, check_request
from milora.engine.fused.resident import ResidentAdapter, read_resident
from milora.engine.fused.running import Batch, RunningRequest, check_override
from milora.engine.fused.search import make_search
from milora.engine.fused.serial import SerialBatch, WithoutAdapters
from milora.engine.fused.text_stream import DecodeIds, TextStream
from milora.errors import MiloraError


@dataclass(frozen=True)
class EngineLimits:
    """Bounds of memory and of a step.

    ``max_rows``: rows that decode together, beams counted. ``max_cells``: tokens that the cache has room for, rows
    times the longest row, which counts in steps of 128. ``prefill_tokens``: prompt tokens, padding counted, that one
    step computes, unless a single prompt is longer: joining requests delay the running ones by no more than this in
    any step. ``context_length``: of the model.
    """

    max_rows: int = 64
    max_cells: int = 65_536
    prefill_tokens: int = 2_048
    context_length: int | None = None


class Engine:
    """Many adapters on one frozen decoder, in one batch.

    Nothing runs between calls: :meth:`step` computes as many steps as it is told and returns what happened. Not safe
    for several threads at once.

    Args:
        model: The decoder; its weights are shared.
        limits: Bounds of memory and of a step.
        decode: Turns new ids into text; None: the engine tells ids only.
        without_adapters: Makes a context in which no adapter of the model itself is active, for a decoder that runs
            through transformers' forward pass.

    Raises:
        MiloraError: ``model/unsupported`` for a decoder that can't run at all.
    """

    slow_because: str | None
    """Why the decoder runs through transformers' forward pass, row by row; None: it runs fused."""

    def __init__(
        self,
        model: PreTrainedModel,
        limits: EngineLimits,
        decode: DecodeIds | None = None,
        without_adapters: WithoutAdapters = contextlib.nullcontext,
    ) -> None:
        self._limits = limits
        self._decode_ids = decode
        self._batch, self.slow_because = _make_batch(model, limits, without_adapters)
        self._waiting: deque[RunningRequest] = deque()
        self._aborted: set[int] = set()
        self._adapters: dict[str, ResidentAdapter] = {}
        self._num_requests = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or runs."""
        return not self._waiting and not self._batch.running

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the resident adapters."""
        return tuple(self._adapters)

    @property
    def num_cache_bytes(self) -> int:
        """Memory of the KV cache."""
        return self._batch.num_cache_bytes

    @property
    def num_cache_growths(self) -> int:
        """How often the cache has taken another shape: what a compiled step would be compiled for again."""
        return self._batch.num_cache_growths

    def load(self, name: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> int:
        """Makes an adapter resident, in place of one of that name; running requests keep theirs. Gives its bytes.

        Raises:
            MiloraError: those of :func:`milora.engine.fused.resident.read_resident`.
        """
        adapter = read_resident(self._batch.sites, name, config, tensors)
        self._adapters[name] = adapter
        return adapter.num_bytes

    def unload(self, name: str) -> None:
        """Forgets an adapter; requests that have it end with it, and the last one frees its memory.

        Raises:
            MiloraError: ``adapter/not-found``.
        """
        self._adapter(name)
        del self._adapters[name]

    def submit(self, request: EngineRequest) -> int:
        """Puts a request in line; gives its number, by which events name it.

        Raises:
            MiloraError: ``adapter/not-found``; ``input/invalid-spec`` for settings that contradict each other and for
                more tokens than the model's context has; ``memory/exhausted`` for a request that alone is beyond the
                engine's limits; ``adapter/unsupported`` for a routing that the adapter cannot do.
        """
        sites = self._batch.sites
        check_request(
            request,
            vocabulary=sites.vocabulary,
            context_length=self._limits.context_length,
            has_text=self._decode_ids is not None,
        )
        adapter = None if request.adapter is None else self._adapter(request.adapter)
        check_override(request, adapter)
        self._check_room(request)
        number = self._num_requests
        self._num_requests += 1
        search = make_search(request, sites.vocabulary, sites.device)
        text = TextStream(self._decode_ids, request.stop_strings)
        self._waiting.append(RunningRequest(number, request, adapter, search, text))
        return number

    def abort(self, number: int) -> None:
        """Ends a request at the next step; one that has ended, or never was, is left alone."""
        self._aborted.add(number)

    @torch.inference_mode()
    def step(self, max_steps: int) -> list[EngineEvent]:
        """Computes up to ``max_steps`` tokens of every request; ends early when nothing is left to do.

        Whatever it raises ends every request, since their rows may be half computed; adapters stay resident, and later
        requests are served.
        """
        events: list[EngineEvent] = []
        try:
            for _ in range(max_steps):
                self._drop_aborted(events)
                self._admit(events)
                if not self._batch.running:
                    break
                logits_RV = self._batch.decode()
                rows = [one.rows for one in self._batch.running]
                self._advance(self._batch.running, logits_RV, rows, events)
        except BaseException:
            self._batch.clear()
            self._waiting.clear()
            self._aborted.clear()
            raise
        return events

    def _admit(self, events: list[EngineEvent]) -> None:
        admitted: list[RunningRequest] = []
        num_rows, longest = self._batch.num_rows, self._longest()
        while self._waiting:
            one = self._waiting[0]
            rows = num_rows + one.search.num_rows
            reach = max(longest, one.request.most_tokens)
            has_room = rows <= self._limits.max_rows and KvCache.cells(rows, reach) <= self._limits.max_cells
            tokens = padded_tokens(prefill_batches([*admitted, one]))
            if not has_room or (admitted and tokens > self._limits.prefill_tokens):
                break
            num_rows, longest = rows, reach
            admitted.append(self._waiting.popleft())
        for batch in prefill_batches(admitted):
            logits_RV = self._batch.join(batch)
            self._advance(batch, logits_RV, [[index] for index in range(len(batch))], events)

    def _advance(
        self,
        requests: Sequence[RunningRequest],
        logits_RV: Tensor,
        rows: Sequence[Sequence[int]],
        events: list[EngineEvent],
    ) -> None:
        """Goes on from logits; ``rows``: of each request, in the logits."""
        best_R, places_R = logits_RV.max(dim=-1)
        # One read from the device; float32 holds every place below 2^24.
        best, places = torch.stack((best_R, places_R.to(best_R.dtype))).tolist()
        ended: list[RunningRequest] = []
        spoiled: list[RunningRequest] = []
        for one, mine in zip(list(requests), rows, strict=True):
            if not all(math.isfinite(best[row]) for row in mine):
                spoiled.append(one)
                events.append(_finished(one, "error", _non_finite(one)))
                continue
            # A view where it can be: a row is as wide as the vocabulary.
            logits = logits_RV[mine[0] : mine[0] + 1] if len(mine) == 1 else logits_RV[list(mine)]
            advance = one.search.advance(logits, [int(places[row]) for row in mine])
            one.next_ids = advance.next_ids
            one.generated += advance.new_ids
            reason = self._tell(one, advance.new_ids, advance.reason, events)
            if reason is not None:
                ended.append(one)
                events.append(_finished(one, reason))
            elif advance.sources is not None:
                # Behind the prompt all rows still are copies of one.
                self._batch.reorder(one, advance.sources)
        self._batch.leave(spoiled, spoiled=True)
        self._batch.leave(ended)

    def _tell(
        self, one: RunningRequest, new_ids: tuple[int, ...], reason: Reason | None, events: list[EngineEvent]
    ) -> Reason | None:
        """Adds the event of new tokens; gives why the request has ended, stop strings heeded."""
        if not new_ids:
            return reason
        text_ids = one.generated[:-1] if one.generated[-1] in one.request.stop_ids else one.generated
        fresh = one.text.update(text_ids, is_last=reason is not None)
        events.append(TokenEvent(one.number, new_ids, fresh))
        return "stop" if one.text.has_stopped else reason

    def _drop_aborted(self, events: list[EngineEvent]) -> None:
        if not self._aborted:
            return
        waiting = [one for one in self._waiting if one.number in self._aborted]
        running = [one for one in self._batch.running if one.number in self._aborted]
        self._waiting = deque(one for one in self._waiting if one.number not in self._aborted)
        self._batch.leave(running)
        events += [_finished(one, "aborted") for one in (*waiting, *running)]
        self._aborted.clear()

    def _longest(self) -> int:
        return max((one.request.most_tokens for one in self._batch.running), default=0)

    def _adapter(self, name: str) -> ResidentAdapter:
        if name not in self._adapters:
            close = get_close_matches(name, self._adapters, n=1)
            known = ", ".join(self._adapters) or "none"
            hint = f"Did you mean {close[0]!r}?" if close else "Load the adapter into the engine first."
            message = f"The engine has no adapter {name!r}; resident: {known}. {hint}"
            raise MiloraError("adapter/not-found", message, found=name, allowed=known, hint=hint)
        return self._adapters[name]

    def _check_room(self, request: EngineRequest) -> None:
        cells = KvCache.cells(request.beams, request.most_tokens)
        limits = self._limits
        if request.beams > limits.max_rows or cells > limits.max_cells:
            raise MiloraError(
                "memory/exhausted",
                f"The request alone needs {request.beams} rows and {cells} cells of the cache; the engine has "
                f"{limits.max_rows} rows and {limits.max_cells} cells.",
                path="request",
                hint="Ask for fewer new tokens or beams, or give the engine a larger budget.",
            )


def _make_batch(
    model: PreTrainedModel, limits: EngineLimits, without_adapters: WithoutAdapters
) -> tuple[Batch, str | None]:
    try:
        return RowBatch(FusedDecoder(model), limits.max_cells), None
    except MiloraError as error:
        if error.code != "model/unsupported":
            raise
        return SerialBatch(model, without_adapters), error.message


def _finished(one: RunningRequest, reason: Reason, error: MiloraError | None = None) -> FinishedEvent:
    gates = None if one.decision is None else one.decision.gates
    return FinishedEvent(one.number, reason, tuple(one.generated), one.text.text, error, gates)


def _non_finite(one: RunningRequest) -> MiloraError:
    name = "the base model" if one.adapter is None else f"adapter {one.adapter.name!r}"
    return MiloraError(
        "training/non-finite",
        f"The logits of request {one.number} are not finite: {name} or its dtype overflows.",
        found=one.adapter.name if one.adapter is not None else None,
        hint="Try dtype float32, or another adapter.",
    )
