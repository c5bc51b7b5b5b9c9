"""Inference: adapters on one base model, generation, and the likelihood of given answers."""

from milora.engine.adapters import ActiveModel, AdapterHost
from milora.engine.decisions import KeptDecisions
from milora.engine.generate import Generated, GenerationRequest, GenerationSettings, Routing, generate
from milora.engine.score import ChoiceScore, ScoringRow, score_choices
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
    "ScoringRow",
    "export_lora",
    "generate",
    "import_lora",
    "score_choices",
    "warm_start_tensors",
]
