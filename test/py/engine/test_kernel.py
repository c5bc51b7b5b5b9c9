"""The Triton kernel of mixed batches against batched products; without CUDA through Triton's interpreter.

Triton asks whether it interprets when it is imported, so that without CUDA the tests run in a process of their own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from milora.engine.fused import EngineRequest
from milora.engine.fused.products import BatchedProduct, ModuleBatch

_HAS_TRITON = importlib.util.find_spec("triton") is not None
_INTERPRETS = os.environ.get("TRITON_INTERPRET") == "1"
_SETTINGS = Path(__file__).parents[3] / "py" / "pyproject.toml"


@pytest.fixture
def kernel() -> Any:
    """The kernel's module."""
    if not _HAS_TRITON or not (_INTERPRETS or torch.cuda.is_available()):
        pytest.skip("needs Triton, and CUDA or TRITON_INTERPRET=1")
    from milora.engine.fused import kernel

    return kernel


@pytest.mark.skipif(not _HAS_TRITON, reason="needs Triton")
@pytest.mark.skipif(_INTERPRETS or torch.cuda.is_available(), reason="the tests run here as they are")
def test_it_is_right_through_the_interpreter() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(_SETTINGS), __file__],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stdout
    assert "3 passed, 1 skipped" in ended.stdout


@pytest.mark.parametrize("rank", [3, 32])
def test_it_adds_what_batched_products_add(kernel: Any, rank: int) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(rank)
    num_rows, inputs, width, start = 6, 150, 140, 7

    def made(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device)

    states, output = made(num_rows, inputs), made(num_rows, 160)
    down, up = made(3, rank, inputs) / inputs**0.5, made(3, rank, width)
    # Adapter 0 has the rows 5 and 0, adapter 2 the row 3; nobody has chosen for the rows 1, 2 and 4.
    rows, adapters = torch.tensor([5, 0, 3], device=device), torch.tensor([0, 0, 2], device=device)
    gates = torch.tensor([0.5, -2.0, 1.5], device=device)
    expected = output.clone()
    cells = torch.zeros(5, width, device=device)
    columns = expected[:, start : start + width].contiguous()
    BatchedProduct(
        modules=(ModuleBatch(down[[0, 2]].transpose(1, 2), up[[0, 2]], cells[:4].view(2, 2, width)),),
        rows=torch.tensor([5, 0, 3, 3], device=device),
        gates=torch.tensor([0.5, -2.0, 1.5, 1.5], device=device).unsqueeze(1),
        cells=cells,
        sources=torch.tensor([1, 4, 4, 2, 4, 0], device=device),
    ).add_to(states, columns)
    expected[:, start : start + width] = columns
    before = output.clone()
    kernel.KernelProduct(rows, adapters, gates, down, up, start).add_to(states, output)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output[[1, 2, 4]], before[[1, 2, 4]], atol=0, rtol=0)


def test_a_mixed_batch_writes_the_same_through_it(kernel: Any, world: Any) -> None:
    written: list[list[tuple[int, ...]]] = []
    for uses_kernel in (False, True):
        engine = world.engine()
        engine._batch._compiler.uses_kernel = uses_kernel
        kinds = ("milora", None, "milora-one", "midora", "milora")
        numbers = [
            engine.submit(EngineRequest(tuple(range(3 + index, 12 + index)), kind, max_new_tokens=4))
            for index, kind in enumerate(kinds)
        ]
        ends = world.ends(world.drain(engine))
        written.append([ends[number].token_ids for number in numbers])
    assert written[0] == written[1]
