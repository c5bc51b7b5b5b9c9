"""Faster ways to compute the decode step, prepared once for many steps: compiled layers, or a CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedModel

from milora.engine.fused.cache import KvCache
from milora.engine.fused.decoder import FusedDecoder
from milora.engine.fused.projections import LayerUpdates
from milora.errors import MiloraError


class DecodeStep(Protocol):
    """Computes what :meth:`milora.engine.fused.decoder.FusedDecoder.decode` does."""

    @property
    def has_kernel(self) -> bool:
        """Whether the Triton kernel runs here."""
        ...

    @property
    def num_compilations(self) -> int:
        """How many graphs have been made."""
        ...

    @property
    def compile_seconds(self) -> float:
        """How long that has taken in all."""
        ...

    def decode(
        self, ids: Sequence[int], positions: Sequence[int], cache: KvCache, updates: Sequence[LayerUpdates] | None
    ) -> Tensor:
        """One token of each of the cache's first rows; the logits, [B, V], hold until the next call."""
        ...

    def forget(self) -> None:
        """Lets go of the batch's cache and updates."""
        ...


def prepared_step(model: PreTrainedModel, decoder: FusedDecoder) -> DecodeStep:
    """The step that suits a decoder's device.

    Raises:
        MiloraError: ``input/invalid-spec`` for a device without any, ``environment/missing-package`` where nothing can
            be compiled.
    """
    # Imported here: torch's compiler takes seconds to import.
    kind = decoder.parts.device.type
    if kind == "cpu":
        from milora.engine.fused.compiled import CompiledStep, graphs_of

        return CompiledStep(graphs_of(model, decoder))
    if kind == "cuda":
        from milora.engine.fused.graphs import GraphedStep

        return GraphedStep(decoder)
    raise MiloraError(
        "input/invalid-spec",
        f"compile is for models on cpu and cuda; this one is on {kind}.",
        path="compile",
        found=kind,
        allowed="cpu, cuda",
        hint="Leave compile off.",
    )
