"""Greedy and beam search over prompts by transformers' ``generate``, in left-padded batches of similar length."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from milora.data import TextEncoder, fit_row
from milora.engine.adapters import ActiveModel, AdapterHost
from milora.engine.attention import long_attention
from milora.engine.decisions import Routing, read_routing
from milora.engine.dora import cached_dora
from milora.engine.requests import GenerationRequest, check_routing, request_override
from milora.errors import MiloraError
from milora.routing.record import RoutingRecord

OnStep = Callable[[int, int], None]

# Bounds of a batch, which bound the KV cache: rows (beams counted) and tokens, prompts and new ones.
_max_rows = 32
_max_tokens = 32_768
# Padding that one longer prompt may bring to a batch; a batch of its own costs less than more of it.
_max_padding = 4096


@dataclass(frozen=True)
class GenerationSettings:
    """``explain`` asks for the routing of requests whose adapter routes; ``cut_prompts`` cuts a prompt that leaves no
    room for the new tokens at its start, behind the beginning tokens, where it is refused otherwise. ``compiled``: the
    engine's steps are; what it does not serve runs as always."""

    max_new_tokens: int = 128
    beams: int = 1
    explain: bool = False
    cut_prompts: bool = False
    compiled: bool = False


@dataclass(frozen=True)
class Generated:
    """A generated text; ``new_tokens`` counts the end token too where one was generated (``stopped``).

    ``decision``: the gates, [layers, experts], where the request keeps them. ``truncated``: the prompt lost its start.
    """

    text: str
    prompt_tokens: int
    new_tokens: int
    stopped: bool
    routing: Routing | None
    decision: Tensor | None = None
    truncated: bool = False


@dataclass(frozen=True)
class PreparedRequest:
    """A request that nothing speaks against, with its prompt's ids; ``truncated``: the prompt lost its start."""

    request: GenerationRequest
    prompt_ids: list[int]
    truncated: bool


def generate(
    host: AdapterHost,
    encoder: TextEncoder,
    requests: Sequence[GenerationRequest],
    settings: GenerationSettings,
    *,
    max_length: int | None,
    on_step: OnStep,
) -> list[Generated]:
    """Answers every request, in the order given.

    Raises:
        MiloraError: those of :func:`prepare`, before anything is computed.
    """
    prepared = prepare(host, encoder, requests, settings, max_length)
    return generate_prepared(host, encoder, prepared, settings, on_step)


def prepare(
    host: AdapterHost,
    encoder: TextEncoder,
    requests: Sequence[GenerationRequest],
    settings: GenerationSettings,
    max_length: int | None,
) -> list[PreparedRequest]:
    """Checks requests and encodes their prompts; nothing is computed.

    Raises:
        MiloraError: ``adapter/not-found``; ``input/invalid-spec`` for a prompt that leaves no room in the model's
            context; those of :func:`milora.engine.requests.check_routing`.
    """
    whole = encoder.prompt_ids([request.prompt for request in requests])
    prompts = _cut(whole, encoder, settings, max_length) if settings.cut_prompts else whole
    for adapter in dict.fromkeys(request.adapter for request in requests):
        host.check(adapter)
    for index, request in enumerate(requests):
        config = {} if request.adapter is None else host.config(request.adapter)
        check_routing(request, f"requests[{index}]", request.adapter, config)
    _check_lengths(prompts, settings, max_length)
    return [
        PreparedRequest(request, ids, truncated=len(ids) < len(uncut))
        for request, ids, uncut in zip(requests, prompts, whole, strict=True)
    ]


def generate_prepared(
    host: AdapterHost,
    encoder: TextEncoder,
    prepared: Sequence[PreparedRequest],
    settings: GenerationSettings,
    on_step: OnStep,
) -> list[Generated]:
    """Answers requests that :func:`prepare` has made, in the order given."""
    outputs: dict[int, Generated] = {}
    for adapter, indices in _batches(prepared, settings):
        done = len(outputs)
        reporter = _Progress(on_step, done, len(indices), len(prepared), settings.max_new_tokens)
        with host.use(adapter) as active:
            made = _generate_batch(active, encoder, [prepared[index] for index in indices], settings, reporter)
        outputs |= dict(zip(indices, made, strict=True))
    total = len(prepared) * settings.max_new_tokens
    on_step(total, total)
    return [replace(outputs[index], truncated=one.truncated) for index, one in enumerate(prepared)]


def _cut(
    prompts: list[list[int]], encoder: TextEncoder, settings: GenerationSettings, max_length: int | None
) -> list[list[int]]:
    """The prompts, the long ones cut; one that cannot be cut enough stays too long."""
    if max_length is None:
        return prompts
    answer = [encoder.pad_id] * settings.max_new_tokens
    rows = [fit_row(ids, answer, len(encoder.start_ids), max_length) for ids in prompts]
    return [list(row.prompt_ids) if row.answer_ids else ids for row, ids in zip(rows, prompts, strict=True)]


def _check_lengths(prompts: list[list[int]], settings: GenerationSettings, max_length: int | None) -> None:
    if max_length is None:
        return
    problems = [
        f"requests[{index}]: the prompt has {len(ids)} tokens"
        for index, ids in enumerate(prompts)
        if len(ids) + settings.max_new_tokens > max_length
    ]
    if problems:
        raise MiloraError(
            "input/invalid-spec",
            f"The model's context of {max_length} tokens has no room for a prompt and {settings.max_new_tokens} new "
            f"tokens: {'; '.join(problems)}.",
            path="requests",
            allowed=f"at most {max_length - settings.max_new_tokens} tokens a prompt",
            problems=problems,
        )


def _batches(prepared: Sequence[PreparedRequest], settings: GenerationSettings) -> list[tuple[str | None, list[int]]]:
    batches: list[tuple[str | None, list[int]]] = []
    prompts = [one.prompt_ids for one in prepared]
    # A kept decision replaces the router for its whole batch, so such requests have batches of their own.
    kinds = [(one.request.adapter, one.request.decision is not None) for one in prepared]
    for kind in dict.fromkeys(kinds):
        adapter = kind[0]
        mine = [index for index, other in enumerate(kinds) if other == kind]
        batch: list[int] = []
        for index in sorted(mine, key=lambda index: len(prompts[index])):
            rows = (len(batch) + 1) * settings.beams
            # The prompts come shortest first, so this one sets the width.
            tokens = rows * (len(prompts[index]) + settings.max_new_tokens)
            padding = (rows - settings.beams) * (len(prompts[index]) - len(prompts[batch[-1]])) if batch else 0
            if batch and (rows > _max_rows or tokens > _max_tokens or padding > _max_padding):
                batches.append((adapter, batch))
                batch = []
            batch.append(index)
        batches.append((adapter, batch))
    return batches


@torch.no_grad()
def _generate_batch(
    active: ActiveModel,
    encoder: TextEncoder,
    batch: Sequence[PreparedRequest],
    settings: GenerationSettings,
    reporter: _Progress,
) -> list[Generated]:
    requests, prompts = [one.request for one in batch], [one.prompt_ids for one in batch]
    device = next(active.model.parameters()).device
    width = max(len(ids) for ids in prompts)
    input_ids = torch.tensor([[encoder.pad_id] * (width - len(ids)) + ids for ids in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=device)
    config = GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        num_beams=settings.beams,
        do_sample=False,
        eos_token_id=list(encoder.stop_ids),
        pad_token_id=encoder.pad_id,
    )
    model: Any = active.model
    records = settings.explain or any(request.keeps_decision for request in requests)
    routed = active.routing if records else None
    recording = routed.record() if routed is not None else contextlib.nullcontext()
    attention = long_attention(model, width + settings.max_new_tokens)
    with request_override(active.routing, requests), recording as record, cached_dora(model), attention:
        sequences = model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([reporter]),
        )
    gates_PLE = _prompt_gates(record, len(prompts)) if record is not None else None
    routings: list[Routing | None] = [None] * len(prompts)
    if gates_PLE is not None and settings.explain:
        routings = [read_routing(layers) for layers in gates_PLE.tolist()]
    rows = sequences[:, width:].tolist()
    made = [
        _read_row(encoder, ids, prompt, routing) for ids, prompt, routing in zip(rows, prompts, routings, strict=True)
    ]
    if gates_PLE is None:
        return made
    return [
        replace(text, decision=gates_PLE[index]) if request.keeps_decision else text
        for index, (text, request) in enumerate(zip(made, requests, strict=True))
    ]


def _read_row(encoder: TextEncoder, ids: list[int], prompt: list[int], routing: Routing | None) -> Generated:
    # Behind its end a row is filled up with pads, which may be any id: the first end token decides.
    end = next((place for place, token in enumerate(ids) if token in encoder.stop_ids), None)
    new_ids = ids if end is None else ids[:end]
    return Generated(
        text=encoder.decode_continuation(new_ids),
        prompt_tokens=len(prompt),
        new_tokens=len(ids) if end is None else end + 1,
        stopped=end is not None,
        routing=routing,
    )


def _prompt_gates(record: RoutingRecord, num_prompts: int) -> Tensor:
    gates_BLE: Tensor = record.gates.detach().float().cpu()
    # Beams of a prompt lie side by side and share its decision.
    return gates_BLE[:: gates_BLE.shape[0] // num_prompts]


class _Progress(StoppingCriteria):
    """Asked after each token: tells how far the whole call is; an exception of ``on_step`` ends it."""

    def __init__(self, on_step: OnStep, done: int, rows: int, requests: int, max_new_tokens: int) -> None:
        self._on_step = on_step
        self._base = done * max_new_tokens
        self._rows = rows
        self._total = requests * max_new_tokens
        self._tokens = 0

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._tokens += 1
        self._on_step(min(self._base + self._tokens * self._rows, self._total), self._total)
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
