"""A data set in token ids; rows are named by their index."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy

from milora.data.encoder import EMPTY_PROMPT, TextEncoder
from milora.data.rows import TextRow
from milora.data.token_row import TokenRow, fit_row
from milora.errors import MiloraError

OnStep = Callable[[int, int], None]

_chunk = 512


@dataclass(frozen=True)
class Dataset:
    """Rows as token ids, and a checksum over them."""

    rows: tuple[TokenRow, ...]
    checksum: str

    def take(self, indices: Sequence[int]) -> list[TokenRow]:
        """The rows of ``indices``, in that order.

        Raises:
            MiloraError: ``input/invalid-spec`` for an index past the end.
        """
        past = [index for index in indices if index >= len(self.rows)]
        if past:
            message = f"There is no row {past[0]}: the data has {len(self.rows)} rows, counted from 0."
            raise MiloraError("input/invalid-spec", message, path="rows", found=str(past[0]))
        return [self.rows[index] for index in indices]


def build_dataset(encoder: TextEncoder, rows: Sequence[TextRow], max_length: int, on_step: OnStep) -> Dataset:
    """Tokenises rows and fits each into ``max_length`` tokens.

    Raises:
        MiloraError: ``data/bad-row`` with the line for a prompt without a single token.
    """
    fitted: list[TokenRow] = []
    num_start = len(encoder.start_ids)
    for begin in range(0, len(rows), _chunk):
        on_step(begin, len(rows))
        chunk = rows[begin : begin + _chunk]
        prompts = [row.prompt for row in chunk]
        answers = encoder.answer_ids(prompts, [row.answer for row in chunk])
        for row, prompt, answer in zip(chunk, encoder.encode_prompts(prompts), answers, strict=True):
            if not prompt:
                raise MiloraError("data/bad-row", f"Line {row.line}: {EMPTY_PROMPT}", line=row.line)
            fitted.append(fit_row(prompt, answer, num_start, max_length))
    on_step(len(rows), len(rows))
    return Dataset(tuple(fitted), _checksum(fitted))


def _checksum(rows: Sequence[TokenRow]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        lengths = (len(row.prompt_ids), len(row.answer_ids))
        digest.update(numpy.array([*lengths, *row.prompt_ids, *row.answer_ids], dtype="<u4").tobytes())
    return digest.hexdigest()
