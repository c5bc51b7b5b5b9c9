"""Training steps, their state, and the loss of data."""

from milora.training.evaluation import DataLoss, RoutingCounts, data_loss
from milora.training.figures import Group, StepFigures
from milora.training.session import TrainingSession, TrainingSettings
from milora.training.state import load_training, save_training

__all__ = [
    "DataLoss",
    "Group",
    "RoutingCounts",
    "StepFigures",
    "TrainingSession",
    "TrainingSettings",
    "data_loss",
    "load_training",
    "save_training",
]
