"""The multi-tenant engine: one frozen decoder, many adapters in one batch, routed once a prompt."""

from milora.engine.fused.decoder import FusedDecoder
from milora.engine.fused.engine import Engine, EngineLimits
from milora.engine.fused.request import EngineEvent, EngineRequest, FinishedEvent, Sampling, TokenEvent

__all__ = [
    "Engine",
    "EngineEvent",
    "EngineLimits",
    "EngineRequest",
    "FinishedEvent",
    "FusedDecoder",
    "Sampling",
    "TokenEvent",
]
