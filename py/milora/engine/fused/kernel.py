"""A mixed batch's update of one module as one Triton kernel on CUDA: rows that did not choose the module cost nothing.

The reference is :class:`milora.engine.fused.products.BatchedProduct`. Import it only where Triton is.

Shapes: P chosen (row, module) pairs, A adapters, R rank, I in, O out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports] - comes with torch for CUDA alone
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

_INPUTS_BLOCK = 128
_OUTPUTS_BLOCK = 128


@triton.jit
def _shrink(inputs, down, inner, rows, adapters, gates, num_inputs, rank, INPUTS: tl.constexpr, RANK: tl.constexpr):
    """A pair's gate ⊙ x A, one program a pair."""
    pair = tl.program_id(0)
    row = tl.load(rows + pair)
    adapter = tl.load(adapters + pair)
    ranks = tl.arange(0, RANK)
    total = tl.zeros([RANK], dtype=tl.float32)
    for start in range(0, num_inputs, INPUTS):
        places = start + tl.arange(0, INPUTS)
        x = tl.load(inputs + row * num_inputs + places, mask=places < num_inputs, other=0.0).to(tl.float32)
        a = tl.load(
            down + (adapter * rank + ranks[:, None]) * num_inputs + places[None, :],
            mask=(ranks[:, None] < rank) & (places[None, :] < num_inputs),
            other=0.0,
        ).to(tl.float32)
        total += tl.sum(a * x[None, :], axis=1)
    tl.store(inner + pair * rank + ranks, total * tl.load(gates + pair), mask=ranks < rank)


@triton.jit
def _expand(inner, up, output, rows, adapters, start, width, stride, rank, OUTPUTS: tl.constexpr, RANK: tl.constexpr):
    """Adds a pair's inner states times B to its row, one program a pair and block of columns."""
    pair = tl.program_id(0)
    row = tl.load(rows + pair)
    adapter = tl.load(adapters + pair)
    ranks = tl.arange(0, RANK)
    columns = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    states = tl.load(inner + pair * rank + ranks, mask=ranks < rank, other=0.0)
    b = tl.load(
        up + (adapter * rank + ranks[:, None]) * width + columns[None, :],
        mask=(ranks[:, None] < rank) & (columns[None, :] < width),
        other=0.0,
    ).to(tl.float32)
    added = tl.sum(b * states[:, None], axis=0)
    places = output + row * stride + start + columns
    # A row chooses a module once, so that no two programs meet in a place.
    known = tl.load(places, mask=columns < width, other=0.0).to(tl.float32)
    tl.store(places, (known + added).to(output.dtype.element_ty), mask=columns < width)


@dataclass(frozen=True)
class KernelProduct:
    """The pairs of a module.

    ``rows``, ``adapters``: of each pair, [P], int64. ``gates``: [P], float32. ``down``: [A, R, I] and ``up``:
    [A, R, O], contiguous; smaller ranks are filled up with zeros. ``start``: the module's first column of the output.
    """

    rows: Tensor
    adapters: Tensor
    gates: Tensor
    down: Tensor
    up: Tensor
    start: int

    def add_to(self, inputs_NI: Tensor, output_NO: Tensor) -> None:
        """Adds gates ⊙ x A B to the rows that chose the module."""
        num_pairs = self.rows.shape[0]
        _, rank, width = self.up.shape
        padded = triton.next_power_of_2(rank)
        inner_PR = torch.empty(num_pairs, rank, dtype=torch.float32, device=inputs_NI.device)
        shrink: Any = _shrink
        shrink[(num_pairs,)](
            inputs_NI.contiguous(),
            self.down,
            inner_PR,
            self.rows,
            self.adapters,
            self.gates,
            inputs_NI.shape[1],
            rank,
            INPUTS=_INPUTS_BLOCK,
            RANK=padded,
        )
        expand: Any = _expand
        expand[(num_pairs, triton.cdiv(width, _OUTPUTS_BLOCK))](
            inner_PR,
            self.up,
            output_NO,
            self.rows,
            self.adapters,
            self.start,
            width,
            output_NO.stride(0),
            rank,
            OUTPUTS=_OUTPUTS_BLOCK,
            RANK=padded,
        )
