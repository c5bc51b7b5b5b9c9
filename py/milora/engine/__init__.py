"""Inference: adapters on one base model, generation, and the likelihood of given answers."""

from milora.engine.adapters import ActiveModel, AdapterHost
from milora.engine.decisions import KeptDecisions, Routing, read_routing
from milora.engine.generate import Generated, GenerationSettings, generate
from milora.engine.requests import GenerationRequest, RoutingChange, check_routing
from milora.engine.score import ChoiceScore, ScoringRow, score_choices
from milora.engine.texts import generate_texts
from milora.engine.upcycling import export_lora, import_lora
from milora.engine.warm_start import warm_start_tensors

__all__ = [
    "ActiveModel",
    "AdapterHost",
    "ChoiceScore",
    "Generated",
    "GenerationRequest",
    "GenerationSettings",
    "KeptDecisions",
    "Routing",
    "RoutingChange",
    "ScoringRow",
    "check_routing",
    "export_lora",
    "generate",
    "generate_texts",
    "import_lora",
    "read_routing",
    "score_choices",
    "warm_start_tensors",
]
