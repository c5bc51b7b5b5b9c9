"""The bounds of an engine."""

from __future__ import annotations

from dataclasses import dataclass

from milora.engine.fused.cache import KvCache
from milora.engine.fused.request import EngineRequest
from milora.errors import MiloraError


@dataclass(frozen=True)
class EngineLimits:
    """Bounds of memory and of a step.

    ``max_rows``: rows that decode together, beams counted. ``max_cells``: tokens that the cache has room for, rows
    times the longest row, which counts in steps of 128. ``prefill_tokens``: prompt tokens, padding counted, that one
    step computes, unless a single prompt is longer: joining requests delay the running ones by no more than this in
    any step. ``context_length``: of the model. ``adapter_bytes``: what adapters may take on the device; None: no
    bound.
    """

    max_rows: int = 64
    max_cells: int = 65_536
    prefill_tokens: int = 2_048
    context_length: int | None = None
    adapter_bytes: int | None = None

    def has_room(self, rows: int, length: int) -> bool:
        """Whether so many rows of so many tokens may run together."""
        return rows <= self.max_rows and KvCache.cells(rows, length) <= self.max_cells

    def check(self, request: EngineRequest) -> None:
        """Refuses a request that would not even fit alone.

        Raises:
            MiloraError: ``memory/exhausted``.
        """
        if self.has_room(request.beams, request.most_tokens):
            return
        cells = KvCache.cells(request.beams, request.most_tokens)
        raise MiloraError(
            "memory/exhausted",
            f"The request alone needs {request.beams} rows and {cells} cells of the cache; the engine has "
            f"{self.max_rows} rows and {self.max_cells} cells.",
            path="request",
            hint="Ask for fewer new tokens or beams, or give the engine a larger budget.",
        )
