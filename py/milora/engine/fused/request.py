"""What is asked of the engine, and what it tells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from milora.engine.fused.timing import RequestTiming
from milora.engine.requests import RoutingChange
from milora.errors import MiloraError

Reason = Literal["stop", "length", "aborted", "error"]

# Far below 1 a penalty favours what is there already; much farther, float32 logits divided by it overflow.
_LOWEST_PENALTY = 0.01


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn; ``temperature`` 0 takes the most probable one.

    In the order in which they act, as in transformers: repetition penalty (on prompt and new tokens), temperature,
    ``top_k`` (0: all), ``top_p``. The same ``seed`` draws the same tokens, whatever else is in the batch.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class EngineRequest(RoutingChange):
    """A prompt for an adapter; None: the base model.

    ``stop_ids`` end the text and count as new tokens; ``stop_strings`` end it before they begin.
    """

    prompt_ids: tuple[int, ...]
    adapter: str | None = None
    max_new_tokens: int = 128
    stop_ids: frozenset[int] = frozenset()
    stop_strings: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    beams: int = 1

    @property
    def most_tokens(self) -> int:
        """Tokens of the prompt and of the longest answer."""
        return len(self.prompt_ids) + self.max_new_tokens


@dataclass(frozen=True)
class TokenEvent:
    """New tokens of a request; ``text`` is what of the text is certain now, so tokens may come without any."""

    request: int
    token_ids: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class FinishedEvent:
    """The end of a request, with all that it generated; ``error``: why, for the reason "error".

    ``gates``: by decoder layer the prompt's gates, None where nothing is adapted; None without an adapter.
    """

    request: int
    reason: Reason
    token_ids: tuple[int, ...]
    text: str
    timing: RequestTiming
    error: MiloraError | None = None
    gates: tuple[tuple[float, ...] | None, ...] | None = None


EngineEvent = TokenEvent | FinishedEvent


def check_request(request: EngineRequest, *, vocabulary: int, context_length: int | None, has_text: bool) -> None:
    """Refuses what no engine could do, before any work.

    Raises:
        MiloraError: ``input/invalid-spec``.
    """
    sampling = request.sampling
    problems = [
        message
        for wrong, message in (
            (not request.prompt_ids, "promptIds: the prompt is empty."),
            (
                any(not 0 <= token < vocabulary for token in request.prompt_ids),
                f"promptIds: a token is outside the vocabulary of {vocabulary}.",
            ),
            (request.max_new_tokens < 1, f"maxNewTokens is {request.max_new_tokens}; allowed: 1 and more."),
            (request.beams < 1, f"beams is {request.beams}; allowed: 1 and more."),
            (not 0 <= sampling.temperature < math.inf, f"temperature is {sampling.temperature}; allowed: 0 and more."),
            (sampling.top_k < 0, f"topK is {sampling.top_k}; allowed: 0 (all) and more."),
            (not 0 < sampling.top_p <= 1, f"topP is {sampling.top_p}; allowed: above 0, up to 1."),
            (
                not _LOWEST_PENALTY <= sampling.repetition_penalty < math.inf,
                f"repetitionPenalty is {sampling.repetition_penalty}; allowed: {_LOWEST_PENALTY} and more.",
            ),
            ("" in request.stop_strings, "stopStrings: an empty string would stop everything."),
            (bool(request.stop_strings) and not has_text, "stopStrings need a tokenizer, and this engine has none."),
            (
                request.beams > 1 and bool(request.stop_strings or sampling != Sampling(seed=sampling.seed)),
                "beams: beam search takes neither stop strings nor sampling settings.",
            ),
            (
                context_length is not None and request.most_tokens > context_length,
                f"The prompt has {len(request.prompt_ids)} tokens and {request.max_new_tokens} new are asked for, "
                f"more than the model's context of {context_length}.",
            ),
        )
        if wrong
    ]
    if problems:
        raise MiloraError("input/invalid-spec", " ".join(problems), path="request", problems=problems)
