"""The fused forward pass: four base products a layer, adapters' updates beside them.

Shapes: B rows, T tokens, N = B T, D hidden size, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from milora.engine.fused.attention import (
    Bucket,
    BucketAttention,
    PromptAttention,
    RotaryTables,
    TokenAttention,
)
from milora.engine.fused.cache import KvCache
from milora.engine.fused.linear import linear
from milora.engine.fused.parts import DOWN, GATE_UP, OUTPUT, QKV, LayerParts, read_decoder
from milora.engine.fused.projections import LayerUpdates, UpdatesOf

NO_UPDATES: LayerUpdates = (None, None, None, None)
"""Of a layer without adapters."""

RunLayer = Callable[[int, LayerParts, Tensor, BucketAttention], Tensor]
"""Runs a layer, told its index, on states [B, D]."""


class FusedDecoder:
    """A decoder with fused projections; it shares the weights of the transformers model that it was made of.

    Raises:
        MiloraError: ``model/unsupported`` for a model that it doesn't know.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        with torch.no_grad():
            self.parts = read_decoder(model)
        kinds = [layer.rotary for layer in self.parts.layers]
        self._tables = RotaryTables(self.parts.rotary, kinds, self.parts.dtype, self.parts.device)
        is_silu = isinstance(self.parts.activation, nn.SiLU) or "silu" in type(self.parts.activation).__name__.lower()
        self._activation: Callable[[Tensor], Tensor] = functional.silu if is_silu else self.parts.activation

    def new_cache(self) -> KvCache:
        """An empty cache for this decoder."""
        parts = self.parts
        return KvCache(len(parts.layers), parts.num_key_heads, parts.head_size, parts.dtype, parts.device)

    @torch.inference_mode()
    def prefill(
        self, prompts: Sequence[Sequence[int]], cache: KvCache, first_row: int, updates_of: UpdatesOf | None
    ) -> Tensor:
        """Computes prompts into the cache's rows from ``first_row``; gives the next token's logits, [B, V]."""
        tokens = max(map(len, prompts))
        ids_BT = torch.tensor([[*ids, *[0] * (tokens - len(ids))] for ids in prompts], device=self.parts.device)
        attention = PromptAttention(self.parts, self._tables, cache, len(prompts), first_row, tokens)
        hidden_ND = self._run(self._embed(ids_BT), attention.attend, updates_of)
        last = [row * tokens + len(ids) - 1 for row, ids in enumerate(prompts)]
        return self._logits(hidden_ND[torch.tensor(last, device=self.parts.device)])

    @torch.inference_mode()
    def decode(
        self, ids: Sequence[int], positions: Sequence[int], cache: KvCache, updates: Sequence[LayerUpdates] | None
    ) -> Tensor:
        """Computes one token for each of the cache's first rows; gives the next token's logits, [B, V].

        Args:
            ids: The rows' tokens.
            positions: Where they stand in their rows, which is where their keys and values go.
            cache: It holds everything before them.
            updates: Of each layer; None: the base model.
        """
        attention = TokenAttention(self.parts, self._tables, cache, positions)
        updates_of = None if updates is None else lambda index, _hidden: updates[index]
        ids_B = torch.tensor(ids, device=self.parts.device)
        return self._logits(self._run(self._embed(ids_B), attention.attend, updates_of))

    def bucket(self, caches: Sequence[Tensor], positions_B: Tensor) -> Bucket:
        """A step's attention; ``caches``: of each layer the rows that run, [B, S, 2 K, H]."""
        return Bucket(self.parts, self._tables, caches, positions_B)

    def decode_bucket(self, ids_B: Tensor, bucket: Bucket, run_layer: RunLayer) -> Tensor:
        """The step of :meth:`decode` with tensors for all that changes from step to step; gives [B, V]."""
        hidden_BD = self._embed(ids_B)
        for index, layer in enumerate(self.parts.layers):
            hidden_BD = run_layer(index, layer, hidden_BD, bucket.attention(index, layer))
        return self._logits(hidden_BD)

    def run_layer(
        self, layer: LayerParts, hidden_ND: Tensor, attend: Callable[[Tensor], Tensor], updates: LayerUpdates
    ) -> Tensor:
        """One layer; ``attend``: from the projected queries, keys and values to what the output projection takes."""
        projections = layer.projections
        attended = attend(projections[QKV](layer.before_attention(hidden_ND), updates[QKV]))
        if layer.after_attention is None:
            hidden_ND = projections[OUTPUT].added_to(hidden_ND, attended, updates[OUTPUT])
        else:
            hidden_ND = hidden_ND + layer.after_attention(projections[OUTPUT](attended, updates[OUTPUT]))
        gate, up = projections[GATE_UP](layer.before_ffn(hidden_ND), updates[GATE_UP]).chunk(2, dim=-1)
        activated = self._activation(gate).mul_(up)
        if layer.after_ffn is None:
            return projections[DOWN].added_to(hidden_ND, activated, updates[DOWN])
        return hidden_ND + layer.after_ffn(projections[DOWN](activated, updates[DOWN]))

    def _embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.parts.embedding(ids)
        return embedded.flatten(0, -2)

    def _run(
        self,
        hidden_ND: Tensor,
        attend: Callable[[int, LayerParts, Tensor], Tensor],
        updates_of: UpdatesOf | None,
    ) -> Tensor:
        for index, layer in enumerate(self.parts.layers):
            updates = NO_UPDATES if updates_of is None else updates_of(index, hidden_ND)
            hidden_ND = self.run_layer(layer, hidden_ND, functools.partial(attend, index, layer), updates)
        return hidden_ND

    def _logits(self, hidden_BD: Tensor) -> Tensor:
        parts = self.parts
        logits = linear(parts.final_norm(hidden_BD), parts.head.weight, parts.head.bias).float()
        if parts.logit_softcap is not None:
            logits = torch.tanh(logits / parts.logit_softcap) * parts.logit_softcap
        return logits
