"""LoRA and DoRA: PEFT's own classes."""

from milora.tuners.lora.hooks import LoraHooks as LoraHooks

__all__ = ["LoraHooks"]
