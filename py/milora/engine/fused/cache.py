"""Keys and values of the running rows, of fixed shape, in buckets.

Shapes: R rows, S tokens, K key heads, H head size.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LENGTH_BUCKET = 128
_ROW_BUCKET = 4


class KvCache:
    """One tensor a layer, [R, S, 2 K, H]: a token's keys, then its values; token t of a row stands at place t.

    S grows in steps of 128, R one by one up to four and in fours from there.

    Rows in use are always the first ones. A place that no token has filled is 0, never left-over memory: a masked NaN
    would still spoil the sum.
    """

    def __init__(
        self, num_layers: int, key_heads: int, head_size: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._shape = (2 * key_heads, head_size)
        self._dtype = dtype
        self._device = device
        self.layers: list[Tensor] = [self._new(0, 0) for _ in range(num_layers)]
        self.num_growths = 0

    @property
    def rows(self) -> int:
        """Rows that there is room for."""
        return self.layers[0].shape[0]

    @property
    def length(self) -> int:
        """Tokens of a row that there is room for."""
        return self.layers[0].shape[1]

    @property
    def num_bytes(self) -> int:
        """Memory of all layers."""
        return sum(layer.nbytes for layer in self.layers)

    @staticmethod
    def cells(rows: int, length: int) -> int:
        """Tokens that the cache holds when it has room for as many rows and tokens a row."""
        return _row_bucket(rows) * _bucket(length, _LENGTH_BUCKET)

    def fit(self, rows: int, length: int, used: int) -> None:
        """Makes room for so many rows and tokens a row, or gives room back; the first ``used`` rows are kept."""
        wanted = (_row_bucket(rows), _bucket(length, _LENGTH_BUCKET))
        if wanted == (self.rows, self.length):
            return
        self.num_growths += 1
        kept_length = min(self.length, wanted[1])
        for index, layer in enumerate(self.layers):
            fresh = self._new(*wanted)
            fresh[:used, :kept_length] = layer[:used, :kept_length]
            self.layers[index] = fresh

    def move(self, sources: Tensor, targets: Tensor, start: int, stop: int) -> None:
        """Copies places ``start`` to ``stop`` of the rows ``sources`` into the rows ``targets``, both int64."""
        for layer in self.layers:
            layer[targets, start:stop] = layer[sources, start:stop]

    def clear(self, rows: slice) -> None:
        """Zeroes rows."""
        for layer in self.layers:
            layer[rows] = 0

    def drop(self) -> None:
        """Gives all room back."""
        self.layers = [self._new(0, 0) for _ in self.layers]

    def _new(self, rows: int, length: int) -> Tensor:
        return torch.zeros(rows, length, *self._shape, dtype=self._dtype, device=self._device)


def _row_bucket(rows: int) -> int:
    # Rounded up, a single long row would take four times its room.
    return rows if rows < _ROW_BUCKET else _bucket(rows, _ROW_BUCKET)


def _bucket(value: int, size: int) -> int:
    return -(-value // size) * size
