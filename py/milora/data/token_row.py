"""A row as token ids, fitted into the maximum length."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenRow:
    """Prompt and answer apart. No answer ids: the row was dropped, it is never trained on."""

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    truncated: bool = False

    @property
    def length(self) -> int:
        """Tokens of prompt and answer together."""
        return len(self.prompt_ids) + len(self.answer_ids)


def fit_row(prompt_ids: list[int], answer_ids: list[int], num_start: int, max_length: int) -> TokenRow:
    """Cuts a prompt at its start, behind its ``num_start`` beginning tokens, until prompt and answer fit.

    An answer that leaves no room for a token of the prompt drops the row.
    """
    room = max_length - len(answer_ids)
    if len(prompt_ids) <= room:
        return TokenRow(tuple(prompt_ids), tuple(answer_ids))
    kept = room - num_start
    if kept < 1:
        return TokenRow(tuple(prompt_ids[:max_length]), ())
    return TokenRow(tuple(prompt_ids[:num_start] + prompt_ids[-kept:]), tuple(answer_ids), truncated=True)
