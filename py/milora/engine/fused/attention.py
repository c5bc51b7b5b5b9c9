"""Rotary positions, and attention over a cache of fixed shape: a whole prompt, or one token a row.

Shapes: B rows, T tokens, S cached tokens, Q query heads, K key heads, H head size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from milora.engine.fused.cache import KvCache
from milora.engine.fused.parts import DecoderParts, LayerParts

_TABLE_BUCKET = 512


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines at some positions, [positions, 1, rotated]; the first half of the sines is negated."""

    cosines: Tensor
    sines: Tensor

    def rotate(self, heads_NJH: Tensor) -> None:
        """Rotates query and key heads in place; partial rotary leaves the last features alone."""
        rotated = heads_NJH[..., : self.cosines.shape[-1]]
        # Halves swapped: with the signs in the sines this is x cos + rotate_half(x) sin.
        swapped = torch.roll(rotated, rotated.shape[-1] // 2, -1)
        rotated.mul_(self.cosines).addcmul_(swapped, self.sines)


Rotations = Mapping[str | None, Rotation]
"""By kind of rotary table."""


class RotaryTables:
    """The rotary tables of a model, made by its own module, longer when needed."""

    def __init__(
        self, module: nn.Module, kinds: Sequence[str | None], dtype: torch.dtype, device: torch.device
    ) -> None:
        self._module: Any = module
        self._kinds = tuple(dict.fromkeys(kinds))
        self._like = torch.zeros(1, dtype=dtype, device=device)
        self._tables: dict[str | None, Rotation] = {}
        self._length = 0

    def at(self, positions: Tensor, longest: int) -> Rotations:
        """Each kind's rotation at the positions, all below ``longest``."""
        self.reach(longest)
        return {
            kind: Rotation(table.cosines.index_select(0, positions), table.sines.index_select(0, positions))
            for kind, table in self._tables.items()
        }

    def reach(self, length: int) -> None:
        """Makes tables for positions below ``length``; those that are made already stay where they are."""
        if length > self._length:
            self._extend(-(-length // _TABLE_BUCKET) * _TABLE_BUCKET)

    def _extend(self, length: int) -> None:
        positions = torch.arange(length, device=self._like.device).unsqueeze(0)
        for kind in self._kinds:
            named = {} if kind is None else {"layer_type": kind}
            cosines, sines = self._module(self._like, positions, **named)
            half = sines.shape[-1] // 2
            signed = torch.cat([-sines[..., :half], sines[..., half:]], dim=-1)
            self._tables[kind] = Rotation(cosines[0].unsqueeze(1), signed[0].unsqueeze(1))
        self._length = length


def split_heads(parts: DecoderParts, layer: LayerParts, qkv: Tensor, rotation: Rotation) -> Tensor:
    """Heads of the fused projection, [N, Q + 2 K, H], queries and keys normalised and rotated; may be in place."""
    heads = qkv.view(qkv.shape[0], -1, parts.head_size)
    turned = heads[:, : parts.num_heads + parts.num_key_heads]
    if layer.head_norm is not None:
        turned.copy_(layer.head_norm(turned))
    rotation.rotate(turned)
    return heads


class PromptAttention:
    """Attention of whole prompts, padded behind their ends, into the cache's rows from ``first_row``."""

    def __init__(
        self, parts: DecoderParts, tables: RotaryTables, cache: KvCache, rows: int, first_row: int, tokens: int
    ) -> None:
        self._parts = parts
        self._cache = cache
        self._rows = slice(first_row, first_row + rows)
        self._tokens = tokens
        positions = torch.arange(tokens, device=parts.device)
        self._rotations = tables.at(positions.repeat(rows), tokens)
        self._masks: dict[int | None, Tensor] = {}

    def attend(self, index: int, layer: LayerParts, qkv: Tensor) -> Tensor:
        """The attention's output before its projection, [B T, Q H]."""
        parts = self._parts
        heads = split_heads(parts, layer, qkv, self._rotations[layer.rotary])
        heads = heads.view(-1, self._tokens, *heads.shape[1:])
        keys_values = heads[:, :, parts.num_heads :]
        self._cache.layers[index][self._rows, : self._tokens] = keys_values
        group = parts.num_heads // parts.num_key_heads
        query = heads[:, :, : parts.num_heads].transpose(1, 2)
        key, value = (
            half.transpose(1, 2).repeat_interleave(group, dim=1)
            for half in keys_values.split(parts.num_key_heads, dim=2)
        )
        sees_all = layer.window is None or self._tokens <= layer.window
        if sees_all and parts.attention_softcap is None:
            attended = functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, scale=parts.attention_scale
            )
        else:
            attended = attention(parts, query, key, value, self._mask(None if sees_all else layer.window))
        return attended.transpose(1, 2).reshape(qkv.shape[0], -1)

    def _mask(self, window: int | None) -> Tensor:
        if window not in self._masks:
            places = torch.arange(self._tokens, device=self._parts.device)
            self._masks[window] = _bias(places.unsqueeze(1), places, window, self._parts.dtype)
        return self._masks[window]


class TokenAttention:
    """Attention of one new token a row, at the row's position; the rows are the cache's first ones."""

    def __init__(self, parts: DecoderParts, tables: RotaryTables, cache: KvCache, positions: Sequence[int]) -> None:
        self._parts = parts
        self._cache = cache
        self._rows = len(positions)
        self._span = max(positions) + 1
        positions_B = torch.tensor(positions, device=parts.device)
        self._rotations = tables.at(positions_B, self._span)
        self._is_level = min(positions) + 1 == self._span
        self._places = (torch.arange(self._rows, device=parts.device), positions_B)
        self._masks: dict[int | None, Tensor] = {}

    def attend(self, index: int, layer: LayerParts, qkv: Tensor) -> Tensor:
        """The attention's output before its projection, [B, Q H]."""
        parts, rows = self._parts, self._rows
        heads = split_heads(parts, layer, qkv, self._rotations[layer.rotary])
        cached = self._cache.layers[index]
        keys_values = heads[:, parts.num_heads :]
        # The queries of a key head stand in for tokens: nothing of the cache is repeated.
        query = heads[:, : parts.num_heads].view(rows, parts.num_key_heads, -1, parts.head_size)
        start, mask = 0, None
        if self._is_level:
            cached[:rows, self._span - 1].copy_(keys_values)
            start = 0 if layer.window is None else max(0, self._span - layer.window)
        else:
            cached[self._places] = keys_values
            mask = self._mask(layer.window)
        seen = cached[:rows, start : self._span].transpose(1, 2)
        key, value = seen[:, : parts.num_key_heads], seen[:, parts.num_key_heads :]
        return attention(parts, query, key, value, mask).reshape(rows, -1)

    def _mask(self, window: int | None) -> Tensor:
        if window not in self._masks:
            places = torch.arange(self._span, device=self._parts.device)
            self._masks[window] = _bias(self._places[1].view(-1, 1, 1, 1), places, window, self._parts.dtype)
        return self._masks[window]


@dataclass(frozen=True)
class BucketAttention:
    """Attention of one new token a row over a layer's whole cache, [B, S, 2 K, H].

    ``rows``, ``positions``: where the tokens stand, [B]. ``mask``: added to the scores, [B, 1, 1, S].
    """

    cached: Tensor
    rows: Tensor
    positions: Tensor
    rotation: Rotation
    mask: Tensor

    def attend(self, parts: DecoderParts, layer: LayerParts, qkv: Tensor) -> Tensor:
        """The attention's output before its projection, [B, Q H]."""
        heads = split_heads(parts, layer, qkv, self.rotation)
        self.cached[self.rows, self.positions] = heads[:, parts.num_heads :]
        query = heads[:, : parts.num_heads].view(qkv.shape[0], parts.num_key_heads, -1, parts.head_size)
        seen = self.cached.transpose(1, 2)
        key, value = seen[:, : parts.num_key_heads], seen[:, parts.num_key_heads :]
        return attention(parts, query, key, value, self.mask).reshape(qkv.shape[0], -1)


class Bucket:
    """A step over all that the cache has room for, and all that it knows is on the device: the same operations, of the
    same shapes, serve every step of as many rows in a cache of this length.

    Args:
        parts: The decoder.
        tables: Its rotary tables.
        caches: Of each layer the rows that run.
        positions_B: Where the rows' tokens stand.
    """

    def __init__(
        self, parts: DecoderParts, tables: RotaryTables, caches: Sequence[Tensor], positions_B: Tensor
    ) -> None:
        length = caches[0].shape[1]
        places = torch.arange(length, device=parts.device)
        self._caches = caches
        self.rows = torch.arange(positions_B.shape[0], device=parts.device)
        self.positions = positions_B
        self.rotations = tables.at(positions_B, length)
        self.masks = {
            window: _bias(positions_B.view(-1, 1, 1, 1), places, window, parts.dtype)
            for window in {layer.window for layer in parts.layers}
        }

    def attention(self, index: int, layer: LayerParts) -> BucketAttention:
        """A layer's."""
        rotation, mask = self.rotations[layer.rotary], self.masks[layer.window]
        return BucketAttention(self._caches[index], self.rows, self.positions, rotation, mask)


def attention(parts: DecoderParts, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention, soft-capped where the model is; ``mask`` is added to the scores."""
    softcap = parts.attention_softcap
    if softcap is None:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=parts.attention_scale)
    scores = query @ key.transpose(2, 3) * parts.attention_scale
    scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores + mask
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype) @ value


def _bias(queries: Tensor, keys: Tensor, window: int | None, dtype: torch.dtype) -> Tensor:
    """0 where a query sees a key, else -inf."""
    hidden = keys > queries
    if window is not None:
        hidden = hidden | (keys <= queries - window)
    return torch.zeros(hidden.shape, dtype=dtype, device=keys.device).masked_fill_(hidden, float("-inf"))
