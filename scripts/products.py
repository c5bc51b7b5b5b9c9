"""x Wᵀ with every weight of SmolLM2-135M, by MKL and by oneDNN: what docs/decisions/engine.md says of the two.

    python scripts/products.py --threads 2 --rows 1,3,8,64

Prints milliseconds for all weights once (float32, made-up numbers, medians of the rounds), which is what a decode step
of that many rows multiplies; 538 MB are read, far more than caches hold.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_LAYERS = 30
_SHAPES = [(960, 576), (576, 576), (3072, 576), (576, 1536)] * _LAYERS + [(49152, 576)]
_DEFAULT_ROWS = "1,3,8,64"


def _by_onednn(inputs_NI: Tensor, weight_OI: Tensor) -> Tensor:
    multiply: Any = torch.ops.mkldnn._linear_pointwise
    return multiply(inputs_NI, weight_OI, None, "none", [], "")


@torch.inference_mode()
def main() -> None:
    """Takes the two in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rows", default=_DEFAULT_ROWS)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    weights = [0.02 * torch.randn(shape) for shape in _SHAPES]
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"MKL": functional.linear, "oneDNN": _by_onednn}
    for rows in map(int, options.rows.split(",")):
        inputs = {width: torch.randn(rows, width) for width in {weight.shape[1] for weight in weights}}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, multiply in ways.items():
                start = time.perf_counter()
                for weight in weights:
                    multiply(inputs[weight.shape[1]], weight)
                seconds[way].append(time.perf_counter() - start)
        print(rows, {way: f"{1000 * statistics.median(taken):.1f} ms" for way, taken in seconds.items()})


if __name__ == "__main__":
    main()
