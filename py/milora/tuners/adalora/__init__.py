"""AdaLoRA: PEFT's own class, with its budget kept by our loop."""

from milora.tuners.adalora.hooks import AdaloraHooks as AdaloraHooks

__all__ = ["AdaloraHooks"]
