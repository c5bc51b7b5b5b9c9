"""The multi-tenant engine: one frozen decoder, many adapters in one batch, routed once a prompt."""

from milora.engine.fused.decoder import FusedDecoder
from milora.engine.fused.engine import Engine
from milora.engine.fused.limits import EngineLimits
from milora.engine.fused.request import EngineEvent, EngineRequest, FinishedEvent, Sampling, TokenEvent
from milora.engine.fused.store import AdapterInfo
from milora.engine.fused.timing import RequestTiming

__all__ = [
    "AdapterInfo",
    "Engine",
    "EngineEvent",
    "EngineLimits",
    "EngineRequest",
    "FinishedEvent",
    "FusedDecoder",
    "RequestTiming",
    "Sampling",
    "TokenEvent",
]
