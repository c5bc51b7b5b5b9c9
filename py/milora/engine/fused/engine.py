"""Continuous batching: requests of many tenants join and leave one batch between steps."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from milora.engine.fused.batch import RowBatch
from milora.engine.fused.decoder import FusedDecoder
from milora.engine.fused.joining import padded_tokens, prefill_batches
from milora.engine.fused.limits import EngineLimits
from milora.engine.fused.request import EngineEvent, EngineRequest, Reason, TokenEvent, check_request
from milora.engine.fused.resident import ResidentAdapter
from milora.engine.fused.running import Batch, RunningRequest, check_override, finished, non_finite
from milora.engine.fused.search import make_search
from milora.engine.fused.serial import SerialBatch, WithoutAdapters
from milora.engine.fused.stepping import DecodeStep, prepared_step
from milora.engine.fused.store import AdapterInfo, AdapterStore
from milora.engine.fused.text_stream import DecodeIds, TextStream
from milora.errors import MiloraError


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
        compiled: Whether the decode step is compiled (CPU), or recorded as a CUDA graph.

    Raises:
        MiloraError: ``model/unsupported`` for a decoder that can't run at all, or not ``compiled``; those of
            :func:`milora.engine.fused.stepping.prepared_step`.
    """

    slow_because: str | None
    """Why the decoder runs through transformers' forward pass, row by row; None: it runs fused."""

    def __init__(
        self,
        model: PreTrainedModel,
        limits: EngineLimits,
        decode: DecodeIds | None = None,
        without_adapters: WithoutAdapters = contextlib.nullcontext,
        *,
        compiled: bool = False,
    ) -> None:
        self._limits = limits
        self._decode_ids = decode
        self._batch, self._step, self.slow_because = _make_batch(model, limits, without_adapters, compiled)
        self._waiting: deque[RunningRequest] = deque()
        self._aborted: set[int] = set()
        self._store = AdapterStore(self._batch.sites, limits.adapter_bytes)
        self._num_requests = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or runs."""
        return not self._waiting and not self._batch.running

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the loaded adapters."""
        return self._store.names

    @property
    def adapter_infos(self) -> tuple[AdapterInfo, ...]:
        """The loaded adapters, and earlier versions that requests still have."""
        return self._store.infos(Counter(self._requested()))

    @property
    def num_cache_bytes(self) -> int:
        """Memory of the KV cache."""
        return self._batch.num_cache_bytes

    @property
    def num_cache_growths(self) -> int:
        """How often the cache has taken another shape."""
        return self._batch.num_cache_growths

    @property
    def num_compilations(self) -> int:
        """Graphs that have been made for decode steps: on a CPU for this model so far, on CUDA by this engine."""
        return 0 if self._step is None else self._step.num_compilations

    @property
    def compile_seconds(self) -> float:
        """How long they took."""
        return 0.0 if self._step is None else self._step.compile_seconds

    def load(self, name: str, config: dict[str, Any], tensors: dict[str, Tensor], *, pinned: bool = False) -> int:
        """Takes an adapter in, in place of one of that name; requests under way keep theirs. Gives its bytes.

        ``pinned``: once on the device it stays there.

        Raises:
            MiloraError: those of :meth:`milora.engine.fused.store.AdapterStore.load`.
        """
        in_use = set(self._requested())
        return self._store.load(name, config, tensors, pinned=pinned, in_use=in_use).num_bytes

    def unload(self, name: str) -> None:
        """Forgets an adapter; requests that have it end with it, and the last one frees its memory.

        Raises:
            MiloraError: ``adapter/not-found``.
        """
        self._store.unload(name)

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
        adapter = None if request.adapter is None else self._store.named(request.adapter)
        check_override(request, adapter)
        self._limits.check(request)
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
        in_use = _adapters_of(self._batch.running)
        while self._waiting:
            one = self._waiting[0]
            rows = num_rows + one.search.num_rows
            reach = max(longest, one.request.most_tokens)
            tokens = padded_tokens(prefill_batches([*admitted, one]))
            if not self._limits.has_room(rows, reach) or (admitted and tokens > self._limits.prefill_tokens):
                break
            if one.adapter is not None:
                if not self._store.bring(one.adapter, in_use):
                    break
                in_use.add(one.adapter)
            num_rows, longest = rows, reach
            one.clock.admit()
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
        now = time.perf_counter()
        ended: list[RunningRequest] = []
        spoiled: list[RunningRequest] = []
        for one, mine in zip(list(requests), rows, strict=True):
            one.clock.compute(now)
            if not all(math.isfinite(best[row]) for row in mine):
                spoiled.append(one)
                events.append(finished(one, "error", non_finite(one)))
                continue
            # A view where it can be: a row is as wide as the vocabulary.
            logits = logits_RV[mine[0] : mine[0] + 1] if len(mine) == 1 else logits_RV[list(mine)]
            advance = one.search.advance(logits, [int(places[row]) for row in mine])
            one.next_ids = advance.next_ids
            one.generated += advance.new_ids
            reason = self._tell(one, advance.new_ids, advance.reason, events)
            if reason is not None:
                ended.append(one)
                events.append(finished(one, reason))
            elif advance.sources is not None:
                # Behind the prompt all rows still are copies of one.
                self._batch.reorder(one, advance.sources)
        self._leave(spoiled, spoiled=True)
        self._leave(ended)

    def _leave(self, leaving: Sequence[RunningRequest], *, spoiled: bool = False) -> None:
        self._batch.leave(leaving, spoiled=spoiled)
        self._store.use(_adapters_of(leaving))

    def _tell(
        self, one: RunningRequest, new_ids: tuple[int, ...], reason: Reason | None, events: list[EngineEvent]
    ) -> Reason | None:
        """Adds the event of new tokens; gives why the request has ended, stop strings heeded."""
        if not new_ids:
            return reason
        one.clock.tell(time.perf_counter())
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
        self._leave(running)
        events += [finished(one, "aborted") for one in (*waiting, *running)]
        self._aborted.clear()

    def _longest(self) -> int:
        return max((one.request.most_tokens for one in self._batch.running), default=0)

    def _requested(self) -> list[ResidentAdapter]:
        """The adapter of each request under way that has one."""
        requests = (*self._waiting, *self._batch.running)
        return [one.adapter for one in requests if one.adapter is not None]


def _make_batch(
    model: PreTrainedModel, limits: EngineLimits, without_adapters: WithoutAdapters, compiled: bool
) -> tuple[Batch, DecodeStep | None, str | None]:
    try:
        decoder = FusedDecoder(model)
    except MiloraError as error:
        if error.code != "model/unsupported" or compiled:
            raise
        return SerialBatch(model, without_adapters), None, error.message
    step = prepared_step(model, decoder) if compiled else None
    return RowBatch(decoder, limits.max_cells, step), step, None


def _adapters_of(requests: Sequence[RunningRequest]) -> set[ResidentAdapter]:
    return {one.adapter for one in requests if one.adapter is not None}
