"""Adapters on disk and in models."""

from milora.checkpoint.adapter import read_adapter as read_adapter
from milora.checkpoint.adapter import save_adapter as save_adapter
from milora.checkpoint.attach import attach_adapter as attach_adapter

__all__ = ["attach_adapter", "read_adapter", "save_adapter"]
