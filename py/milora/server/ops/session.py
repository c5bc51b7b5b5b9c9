"""What one process holds between operations: the open model, its data, adapters and training."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import torch

from milora.data import Dataset, Prompt, TextEncoder
from milora.engine import AdapterHost, KeptDecisions
from milora.engine.fused import Engine
from milora.errors import MiloraError
from milora.models import OpenedModel
from milora.server.call import Call
from milora.server.ops.engine_texts import EngineTexts
from milora.training import TrainingSession
from milora.training.ranks import ALONE, Ranks


@dataclass
class OpenSession:
    """Everything that belongs to one open model."""

    opened: OpenedModel
    encoder: TextEncoder
    host: AdapterHost
    datasets: dict[str, Dataset] = field(default_factory=dict)
    training: TrainingSession | None = None
    decisions: KeptDecisions = field(default_factory=KeptDecisions)
    engine: Engine | None = None
    engine_texts: EngineTexts = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is asked of an engine yet."""
        self.engine_texts = EngineTexts(self.encoder, self.decisions)

    def dataset(self, name: str) -> Dataset:
        """A loaded data set.

        Raises:
            MiloraError: ``input/unknown-name``.
        """
        if name in self.datasets:
            return self.datasets[name]
        close = get_close_matches(name, self.datasets, n=1)
        known = ", ".join(self.datasets) or "none"
        hint = f"Did you mean {close[0]!r}?" if close else "Load it with loadRows first."
        message = f"There are no rows {name!r}; loaded: {known}. {hint}"
        raise MiloraError("input/unknown-name", message, path="data", found=name, allowed=known, hint=hint)

    def open_training(self) -> TrainingSession:
        """The training in progress.

        Raises:
            MiloraError: ``input/invalid-spec`` without one.
        """
        if self.training is None:
            raise MiloraError("input/invalid-spec", "No training is open; call startTraining first.")
        return self.training


_session: OpenSession | None = None
_ranks: Ranks = ALONE


def current() -> OpenSession:
    """The session of the open model.

    Raises:
        MiloraError: ``input/invalid-spec`` when no model is open.
    """
    if _session is None:
        raise MiloraError("input/invalid-spec", "No model is open; call openModel first.")
    return _session


def join(ranks: Ranks) -> None:
    """Makes this process one of several ranks."""
    global _ranks
    _ranks = ranks


def ranks() -> Ranks:
    """Those that share what is trained and evaluated here."""
    return _ranks


def begin(opened: OpenedModel) -> OpenSession:
    """Makes a newly opened model the process's one model."""
    global _session
    ends = opened.model.generation_config.eos_token_id if opened.model.generation_config is not None else None
    end_ids = [ends] if isinstance(ends, int) else list(ends or [])
    encoder = TextEncoder(opened.tokenizer, end_ids)
    _session = OpenSession(opened, encoder, AdapterHost(opened.model))
    return _session


def end() -> None:
    """Lets go of the open model, if any, and of its memory."""
    global _session
    _session = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def reporter(call: Call, stage: str) -> Callable[[int, int], None]:
    """A callable for the lower layers: tells progress of ``stage`` and raises when the call is cancelled."""

    def on_step(done: int, total: int) -> None:
        call.step(stage, done, total)

    return on_step


def prompt_of(asked: Mapping[str, Any]) -> Prompt:
    """What a request asks: a plain text, the one user message of a chat, or a chat's messages.

    Raises:
        MiloraError: ``input/invalid-spec`` for messages beside a prompt, or that end with an answer.
    """
    text, messages = asked["prompt"], asked["messages"]
    if messages is None:
        return Prompt.user(text) if asked["chat"] else Prompt(text)
    if text:
        message = "A request has a prompt and messages; allowed is one of the two."
        raise MiloraError("input/invalid-spec", message, path="messages")
    if messages[-1]["role"] == "assistant":
        message = "The last message is the assistant's; a chat ends with the message that is to be answered."
        raise MiloraError("input/invalid-spec", message, path="messages", found="assistant")
    return Prompt(messages=tuple((message["role"], message["content"]) for message in messages))
