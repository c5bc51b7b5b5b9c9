"""The decode step as a CUDA graph: its kernels are recorded once and replayed, without Python or launches one by one.

A graph holds for one composition of the batch, one plan and one shape of the cache.
"""

from __future__ import annotations

import functools
import importlib.util
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from milora.engine.fused.attention import BucketAttention
from milora.engine.fused.cache import KvCache
from milora.engine.fused.decoder import NO_UPDATES, FusedDecoder
from milora.engine.fused.parts import LayerParts
from milora.engine.fused.projections import LayerUpdates

Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Records a step; gives what replays it and where its logits are then."""

# While requests come and go, recording would cost more than it saves.
_PLAIN_STEPS = 2


class GraphedStep:
    """The decode step of one batch; a composition that lasts some steps is recorded.

    Args:
        decoder: The decoder.
        record: How a step is recorded.
    """

    def __init__(self, decoder: FusedDecoder, record: Record | None = None) -> None:
        self._decoder = decoder
        self._record = record or record_cuda
        on_cuda = decoder.parts.device.type == "cuda"
        self.has_kernel = on_cuda and importlib.util.find_spec("triton") is not None
        self.num_compilations = 0
        self.compile_seconds = 0.0
        self.forget()

    def decode(
        self, ids: Sequence[int], positions: Sequence[int], cache: KvCache, updates: Sequence[LayerUpdates] | None
    ) -> Tensor:
        """One token of each of the cache's first rows; the logits, [B, V], hold until the next call."""
        first, rows = cache.layers[0], len(ids)
        of = self._of
        if of is None or of[0] is not first or of[1] is not updates or of[2] != rows:
            self.forget()
            self._of = (first, updates, rows)
        if self._replay is None:
            self._num_plain += 1
            if self._num_plain <= _PLAIN_STEPS:
                return self._decoder.decode(ids, positions, cache, updates)
            self._inputs = torch.tensor([list(ids), list(positions)], device=self._decoder.parts.device)
            self._prepare(self._inputs, cache, updates)
        else:
            assert self._inputs is not None
            self._inputs.copy_(torch.tensor([list(ids), list(positions)]))
        assert self._replay is not None and self._logits is not None
        self._replay()
        return self._logits

    def forget(self) -> None:
        """Lets go of the graph with the batch's cache and updates."""
        self._of: tuple[Tensor, Sequence[LayerUpdates] | None, int] | None = None
        self._replay: Callable[[], None] | None = None
        self._inputs: Tensor | None = None
        self._logits: Tensor | None = None
        self._num_plain = 0

    def _prepare(self, inputs_2B: Tensor, cache: KvCache, updates: Sequence[LayerUpdates] | None) -> None:
        decoder = self._decoder
        caches = [layer[: inputs_2B.shape[1]] for layer in cache.layers]

        def run_layer(index: int, layer: LayerParts, hidden_BD: Tensor, attention: BucketAttention) -> Tensor:
            attend = functools.partial(attention.attend, decoder.parts, layer)
            return decoder.run_layer(layer, hidden_BD, attend, NO_UPDATES if updates is None else updates[index])

        def step() -> Tensor:
            return decoder.decode_bucket(inputs_2B[0], decoder.bucket(caches, inputs_2B[1]), run_layer)

        start = time.perf_counter()
        self._replay, self._logits = self._record(step)
        self.compile_seconds += time.perf_counter() - start
        self.num_compilations += 1


def record_cuda(step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Records a step on the current CUDA device; it runs once before, which sets up what a graph may not."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = step()
    return graph.replay, logits
