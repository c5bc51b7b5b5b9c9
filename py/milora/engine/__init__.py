"""Inference: adapters on one base model, generation, and the likelihood of given answers."""

from milora.engine.adapters import ActiveModel, AdapterHost
from milora.engine.generate import Generated, GenerationRequest, GenerationSettings, Routing, generate
from milora.engine.score import ChoiceScore, ScoringRow, score_choices

__all__ = [
    "ActiveModel",
    "AdapterHost",
    "ChoiceScore",
    "Generated",
    "GenerationRequest",
    "GenerationSettings",
    "Routing",
    "ScoringRow",
    "generate",
    "score_choices",
]
