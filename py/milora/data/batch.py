"""Rows to tensors. Shapes: B rows, T tokens of the longest row, N answer tokens of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from milora.data.token_row import TokenRow


@dataclass(frozen=True)
class Batch:
    """Right-padded rows. Which token is prompt, answer or padding is known by position, never by token id."""

    input_ids: Tensor
    """[B, T]."""
    attention_mask: Tensor
    """[B, T], 1 at tokens."""
    prompt_mask: Tensor
    """[B, T], True at the prompt's tokens."""
    positions: Tensor
    """[N], flat indices into [B, T] of the positions that predict an answer token."""
    targets: Tensor
    """[N], the answer tokens."""
    row_of_target: Tensor
    """[N], the row of each answer token."""
    num_tokens: int
    num_answer_tokens: int


def collate(rows: Sequence[TokenRow], pad_id: int, device: torch.device) -> Batch:
    """Joins prompt and answer of each row and pads at the right."""
    width = max(row.length for row in rows)
    input_ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    for index, row in enumerate(rows):
        input_ids[index, : row.length] = torch.tensor(row.prompt_ids + row.answer_ids, dtype=torch.long)
    lengths = torch.tensor([[row.length] for row in rows])
    prompt_lengths = torch.tensor([[len(row.prompt_ids)] for row in rows])
    places = torch.arange(width)[None]
    is_answer = (places >= prompt_lengths) & (places < lengths)
    where = is_answer.flatten().nonzero().squeeze(1)
    tensors = {
        "input_ids": input_ids,
        "attention_mask": (places < lengths).long(),
        "prompt_mask": places < prompt_lengths,
        # A token is predicted one place before it; a prompt has at least one token, so this stays in its row.
        "positions": where - 1,
        "targets": input_ids.flatten()[where],
        "row_of_target": where // width,
    }
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
    return Batch(**moved, num_tokens=int(lengths.sum()), num_answer_tokens=int(where.numel()))
