"""AdaLoRA: PEFT's own class, with its budget kept by our loop."""

from milora.tuners.adalora.hooks import AdaloraHooks as AdaloraHooks
from milora.tuners.adalora.pruned import no_false_alarms as no_false_alarms
from milora.tuners.adalora.pruned import unpruned as unpruned

__all__ = ["AdaloraHooks", "no_false_alarms", "unpruned"]
