"""x Wᵀ with every weight of SmolLM2-135M, by MKL and by oneDNN: what docs/decisions/engine.md says of the two.

    PYTHONPATH=py python scripts/products.py --threads 2 --rows 1,3,8,64

Prints milliseconds for all weights once (float32, made-up numbers, medians of the rounds), which is what a decode step
of that many rows multiplies; 538 MB are read, far more than caches hold.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from milora.engine.fused.linear import by_onednn

_LAYERS = 30
_SHAPES = [(960, 576), (576, 576), (3072, 576), (576, 1536)] * _LAYERS + [(49152, 576)]
_DEFAULT_ROWS = "1,3,8,64"


@torch.inference_mode()
def main() -> None:
    """Takes the ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rows", default=_DEFAULT_ROWS)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    weights = [0.02 * torch.randn(shape) for shape in _SHAPES]
    for rows in map(int, options.rows.split(",")):
        laid_out = [torch.ops.mkldnn._reorder_linear_weight(weight, rows) for weight in weights]
        ways: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], list[Tensor]]] = {
            "MKL": (functional.linear, weights),
            "oneDNN": (by_onednn, weights),
            "oneDNN, weights laid out anew": (by_onednn, laid_out),
        }
        inputs = {width: torch.randn(rows, width) for width in {weight.shape[1] for weight in weights}}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, (multiply, given) in ways.items():
                start = time.perf_counter()
                for weight in given:
                    multiply(inputs[weight.shape[1]], weight)
                seconds[way].append(time.perf_counter() - start)
        print(rows, {way: f"{1000 * statistics.median(taken):.1f} ms" for way, taken in seconds.items()})


if __name__ == "__main__":
    main()
