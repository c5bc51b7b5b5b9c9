"""Prompts with all of their choices behind them, a row each: one pass computes what would be a row for each choice.

A choice's tokens see the prompt and their own choice, at the positions that they have right behind the prompt.

Shapes: Q questions, T tokens of the longest row, N predicting tokens, A tokens of all choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from milora.engine.attention import longest_eager
from milora.models import causal_model

_KNOWN = (
    "Gemma2ForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Phi3ForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
)
"""Models in which the mask and the positions alone say what a token sees and where it stands."""

_PADDING, _PROMPT = -1, 0


@dataclass(frozen=True)
class Question:
    """A prompt's and its choices' token ids, none empty; ``truncated``: the prompt was cut at its start."""

    prompt_ids: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...]
    truncated: bool

    @property
    def row_tokens(self) -> int:
        """Tokens of the prompt and, behind it, of all choices but the last ones, which predict nothing."""
        return len(self.prompt_ids) + sum(len(ids) - 1 for ids in self.choices)


@dataclass(frozen=True)
class ChoiceRows:
    """The input of a pass, and what of its logits to read.

    ``ids`` and ``positions`` [Q, T]; ``is_prompt`` booleans [Q, T]; ``mask`` [Q, 1, T, T], added to attention scores;
    ``predicting`` [N], flat in [Q, T]. Of each token of the choices, [A]: ``sources`` the place in ``predicting`` of
    what predicts it, ``targets`` its id, ``owners`` its choice, counted through all questions.
    """

    ids: Tensor
    positions: Tensor
    is_prompt: Tensor
    mask: Tensor
    predicting: Tensor
    sources: Tensor
    targets: Tensor
    owners: Tensor


def longest_row(model: nn.Module) -> int:
    """Tokens of the longest row in which choices may stand side by side; 0 where the model does not allow it.

    In a longer one eager attention is slow, and a sliding window could hide the prompt's start behind other choices.
    """
    base = causal_model(model)
    config = base.config
    # Soft tokens put their prefix before the implementation's name.
    by_mask = str(config._attn_implementation).endswith(("eager", "sdpa"))
    if not by_mask or type(base).__name__ not in _KNOWN or not type(base).__module__.startswith("transformers."):
        return 0
    return min(longest_eager(), getattr(config, "sliding_window", None) or longest_eager())


def choice_rows(questions: Sequence[Question], pad_id: int, device: torch.device, dtype: torch.dtype) -> ChoiceRows:
    """Lays questions out as rows, padded at their ends; ``dtype`` is that of the mask."""
    width = max(question.row_tokens for question in questions)
    ids: list[list[int]] = []
    positions: list[list[int]] = []
    parts: list[list[int]] = []
    predicting: list[int] = []
    sources: list[int] = []
    for row, question in enumerate(questions):
        length = len(question.prompt_ids)
        padding = width - question.row_tokens
        inputs = [choice[:-1] for choice in question.choices]
        # The prompt's last token predicts the first token of each choice, and every token behind it one of its own.
        last = len(predicting)
        predicting.extend(range(row * width + length - 1, row * width + question.row_tokens))
        following = last + 1
        for choice in inputs:
            sources.extend([last, *range(following, following + len(choice))])
            following += len(choice)
        behind = [range(length, length + len(choice)) for choice in inputs]
        numbers = [[number] * len(choice) for number, choice in enumerate(inputs, start=_PROMPT + 1)]
        ids.append(_joined(question.prompt_ids, inputs, [pad_id] * padding))
        positions.append(_joined(range(length), behind, [0] * padding))
        parts.append(_joined([_PROMPT] * length, numbers, [_PADDING] * padding))
    parts_QT = torch.tensor(parts, device=device)
    choices = [choice for question in questions for choice in question.choices]
    return ChoiceRows(
        ids=torch.tensor(ids, device=device),
        positions=torch.tensor(positions, device=device),
        is_prompt=parts_QT == _PROMPT,
        mask=_mask(parts_QT, dtype),
        predicting=torch.tensor(predicting, device=device),
        sources=torch.tensor(sources, device=device),
        targets=torch.tensor([token for choice in choices for token in choice], device=device),
        owners=torch.tensor([index for index, choice in enumerate(choices) for _ in choice]),
    )


def _joined(prompt: Sequence[int], choices: Sequence[Sequence[int]], padding: Sequence[int]) -> list[int]:
    return [*prompt, *(value for choice in choices for value in choice), *padding]


def _mask(parts_QT: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a token sees another one, of the prompt or of its own part and not behind it; else the lowest number."""
    keys_Q1T = parts_QT.unsqueeze(1)
    sees_QTT = ((keys_Q1T == _PROMPT) | (keys_Q1T == parts_QT.unsqueeze(2))).tril()
    mask_QTT = torch.zeros(sees_QTT.shape, dtype=dtype, device=parts_QT.device)
    return mask_QTT.masked_fill_(~sees_QTT, torch.finfo(dtype).min).unsqueeze(1)
