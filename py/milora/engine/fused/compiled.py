"""Decoder layers as compiled graphs, by torch.compile: one graph serves all layers that are made alike.

With adapters the graph calls back at each projection for whatever the plan has there, so that no plan compiles
anything anew: requests join and leave, and batches are mixed, over the same graphs. Each kind of layer is compiled
for one row and for several, whatever their number and the cache's length, with adapters and without: four graphs at
most.

Shapes: B rows, D hidden size, I in, O out, V vocabulary.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from milora.engine.fused.attention import Bucket, BucketAttention, Rotation
from milora.engine.fused.cache import KvCache
from milora.engine.fused.decoder import NO_UPDATES, FusedDecoder
from milora.engine.fused.norms import RmsNorm
from milora.engine.fused.parts import LayerParts
from milora.engine.fused.projections import LayerUpdates
from milora.models import MOST_COMPILATIONS, check_compiler, compile_failures

_Layer = Callable[..., Tensor]

_LIBRARY = torch.library.Library("milora", "DEF")
_LIBRARY.define("adapter_update(Tensor inputs, Tensor(a!) output, int group) -> ()")

# The updates of the layer that runs; one engine steps at a time, on one thread.
_running: list[LayerUpdates] = []


def _update(inputs_NI: Tensor, output_NO: Tensor, group: int) -> None:
    update = _running[-1][group]
    if update is not None:
        update.apply(inputs_NI, output_NO)


_LIBRARY.impl("adapter_update", _update, "CompositeExplicitAutograd")
torch.library.register_fake("milora::adapter_update", lambda *_: None, lib=_LIBRARY)


class _CalledBack:
    """In a graph: whatever the running layer's updates have for a projection."""

    rescales = True

    def __init__(self, group: int) -> None:
        self._group = group

    def apply(self, inputs_NI: Tensor, output_NO: Tensor) -> Tensor:
        torch.ops.milora.adapter_update(inputs_NI, output_NO, self._group)
        return output_NO


class LayerGraphs:
    """A decoder's compiled layers.

    Raises:
        MiloraError: ``environment/missing-package`` where nothing can be compiled on this machine.
    """

    def __init__(self, decoder: FusedDecoder) -> None:
        check_compiler("compile")
        self.decoder = decoder
        self.num_compilations = 0
        self.compile_seconds = 0.0
        called_back = tuple(map(_CalledBack, range(decoder.parts.sites.num_groups)))
        made: dict[Any, tuple[_Layer, _Layer]] = {}
        for layer in decoder.parts.layers:
            make = _make_of(layer)
            made[make] = made.get(make) or (self._compiled(NO_UPDATES), self._compiled(called_back))
        self.layers = tuple(made[_make_of(layer)] for layer in decoder.parts.layers)
        """Of each layer what runs it without adapters and with them."""

    def _compiled(self, updates: LayerUpdates) -> _Layer:
        decoder = self.decoder

        def run(
            layer: LayerParts,
            hidden_BD: Tensor,
            cached: Tensor,
            rows_B: Tensor,
            positions_B: Tensor,
            cosines: Tensor,
            sines: Tensor,
            mask: Tensor,
        ) -> Tensor:
            attention = BucketAttention(cached, rows_B, positions_B, Rotation(cosines, sines), mask)
            return decoder.run_layer(
                layer, hidden_BD, functools.partial(attention.attend, decoder.parts, layer), updates
            )

        # torch's stubs know neither a backend's result nor all options.
        compiled: Any = torch.compile
        return compiled(
            run,
            backend=self._backend,
            fullgraph=True,
            dynamic=False,
            isolate_recompiles=True,
            recompile_limit=MOST_COMPILATIONS,
            options={"guard_filter_fn": _on_shapes},
        )

    def _backend(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        from torch._inductor.compile_fx import compile_fx

        self.num_compilations += 1
        # A pool of compiling processes would cost more memory and time than it saves.
        return compile_fx(graph, inputs, config_patches={"compile_threads": 1})


class CompiledStep:
    """The decode step of one batch over compiled layers, which other batches of the model use too."""

    has_kernel = False

    def __init__(self, graphs: LayerGraphs) -> None:
        self._graphs = graphs
        self._of: tuple[Tensor, int] | None = None
        self._caches: list[Tensor] = []
        self._updates: Sequence[LayerUpdates] | None = None

    @property
    def num_compilations(self) -> int:
        """Graphs of the model so far."""
        return self._graphs.num_compilations

    @property
    def compile_seconds(self) -> float:
        """How long the steps took in which they were compiled."""
        return self._graphs.compile_seconds

    def decode(
        self, ids: Sequence[int], positions: Sequence[int], cache: KvCache, updates: Sequence[LayerUpdates] | None
    ) -> Tensor:
        """One token of each of the cache's first rows; gives the next token's logits, [B, V].

        Raises:
            MiloraError: ``model/unsupported`` for a model that torch.compile fails on.
        """
        graphs, decoder = self._graphs, self._graphs.decoder
        self._updates = updates
        start, before = time.perf_counter(), graphs.num_compilations
        ids_B = torch.tensor(ids, device=decoder.parts.device)
        positions_B = torch.tensor(positions, device=decoder.parts.device)
        bucket = decoder.bucket(self._views(cache, len(ids)), positions_B)
        _let_sizes_change(bucket)
        with compile_failures("compile"):
            logits = decoder.decode_bucket(ids_B, bucket, self._run_layer)
        if graphs.num_compilations > before:
            graphs.compile_seconds += time.perf_counter() - start
        return logits

    def forget(self) -> None:
        """Lets go of the cache and the updates."""
        self._of, self._caches, self._updates = None, [], None

    def _run_layer(self, index: int, layer: LayerParts, hidden_BD: Tensor, attention: BucketAttention) -> Tensor:
        plain, adapted = self._graphs.layers[index]
        updates = NO_UPDATES if self._updates is None else self._updates[index]
        if hidden_BD.shape[0] > 1:
            torch._dynamo.maybe_mark_dynamic(hidden_BD, 0)
        rotation = attention.rotation
        changing = (attention.rows, attention.positions, rotation.cosines, rotation.sines, attention.mask)
        if not any(updates):
            return plain(layer, hidden_BD, attention.cached, *changing)
        _running.append(updates)
        try:
            return adapted(layer, hidden_BD, attention.cached, *changing)
        finally:
            _running.pop()

    def _views(self, cache: KvCache, rows: int) -> list[Tensor]:
        """The rows of each layer that run; made once for as long as they stay the same."""
        first = cache.layers[0]
        if self._of is None or self._of[0] is not first or self._of[1] != rows:
            self._of = (first, rows)
            self._caches = [layer[:rows] for layer in cache.layers]
            for layer in self._caches:
                torch._dynamo.maybe_mark_dynamic(layer, [0, 1] if rows > 1 else 1)
        return self._caches


_graphs: WeakKeyDictionary[PreTrainedModel, LayerGraphs] = WeakKeyDictionary()


def graphs_of(model: PreTrainedModel, decoder: FusedDecoder) -> LayerGraphs:
    """A model's graphs: those of an earlier engine, unless its weights lie elsewhere by now."""
    known = _graphs.get(model)
    if known is None or _addresses(known.decoder) != _addresses(decoder):
        known = _graphs[model] = LayerGraphs(decoder)
    return known


def _addresses(decoder: FusedDecoder) -> list[int]:
    return [projection.weight.data_ptr() for layer in decoder.parts.layers for projection in layer.projections]


def _make_of(layer: LayerParts) -> tuple[object, ...]:
    """All of a layer that its graph is made for; its weights, rotation and window are given at each call."""
    norms = (layer.before_attention, layer.after_attention, layer.before_ffn, layer.after_ffn, layer.head_norm)
    projections = tuple((each.weight.shape, each.bias is None) for each in layer.projections)
    return (projections, *(None if norm is None else _norm_make(norm) for norm in norms))


def _norm_make(norm: RmsNorm) -> tuple[object, ...]:
    return (norm.weight.shape, norm.weight.dtype, norm.epsilon, norm.wide)


def _on_shapes(entries: Sequence[Any]) -> list[bool]:
    """Of a graph's guards those that a step can break; the layers that share a graph are made alike."""
    # Those without a name are about torch's own state and the relations between sizes.
    return [entry.name in ("", "hidden_BD", "cached") for entry in entries]


def _let_sizes_change(bucket: Bucket) -> None:
    """Marks what the number of rows and the cache's length change, so that they compile nothing anew."""
    several = bucket.rows.shape[0] > 1
    for mask in bucket.masks.values():
        torch._dynamo.maybe_mark_dynamic(mask, [0, 3] if several else 3)
    if several:
        rotations = (tensor for each in bucket.rotations.values() for tensor in (each.cosines, each.sines))
        for tensor in (bucket.rows, bucket.positions, *rotations):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
