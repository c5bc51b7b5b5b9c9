"""Training steps, their state, and the loss of data."""

from milora.training.evaluation import DataLoss, RoutedPrompts, RoutingCounts, data_loss, prompt_routing
from milora.training.figures import Group, StepFigures
from milora.training.ranks import JoinedRanks, Ranks
from milora.training.session import TrainingSession, TrainingSettings, VirtualStep
from milora.training.state import load_training, save_training

__all__ = [
    "DataLoss",
    "Group",
    "JoinedRanks",
    "Ranks",
    "RoutedPrompts",
    "RoutingCounts",
    "StepFigures",
    "TrainingSession",
    "TrainingSettings",
    "VirtualStep",
    "data_loss",
    "load_training",
    "prompt_routing",
    "save_training",
]
