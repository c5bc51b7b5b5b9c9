"""Measurements against what a user would take instead; every figure comes from runs beside each other."""

from milora.bench.peak import PeakTrial as PeakTrial
from milora.bench.peak import peak_bytes as peak_bytes
from milora.bench.train import Contender as Contender
from milora.bench.train import Method as Method
from milora.bench.train import Row as Row
from milora.bench.train import TrainBench as TrainBench
from milora.bench.train import contenders as contenders
from milora.bench.train import loss_curves as loss_curves
from milora.bench.train import time_training as time_training

__all__ = [
    "Contender",
    "Method",
    "PeakTrial",
    "Row",
    "TrainBench",
    "contenders",
    "loss_curves",
    "peak_bytes",
    "time_training",
]
