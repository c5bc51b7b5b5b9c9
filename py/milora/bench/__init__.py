"""Measurements against what a user would take instead; every figure comes from runs beside each other."""

from milora.bench.decode import DecodeBench, DecodeMethod, DecodeRow, DecodeSizes, time_decoding, trained_method
from milora.bench.decode_peak import DecodePeakTrial, decode_peak_bytes
from milora.bench.peak import PeakTrial, peak_bytes
from milora.bench.tenants import TenantBench, TenantFigures, TenantRow, time_tenants
from milora.bench.train import Contender, Method, Row, TrainBench, contenders, loss_curves, time_training

__all__ = [
    "Contender",
    "DecodeBench",
    "DecodeMethod",
    "DecodePeakTrial",
    "DecodeRow",
    "DecodeSizes",
    "Method",
    "PeakTrial",
    "Row",
    "TenantBench",
    "TenantFigures",
    "TenantRow",
    "TrainBench",
    "contenders",
    "decode_peak_bytes",
    "loss_curves",
    "peak_bytes",
    "time_decoding",
    "time_tenants",
    "time_training",
    "trained_method",
]
