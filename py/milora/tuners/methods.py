"""Every method that the Python side knows, by its adapter's PEFT type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from peft import AdaLoraConfig, LoraConfig
from peft.config import PeftConfig
from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from milora.errors import MiloraError
from milora.tuners.adalora import AdaloraHooks
from milora.tuners.base import MethodHooks, PlannedConfig, PlannedTuner, config_of
from milora.tuners.bitfit import BitfitConfig, BitfitModel
from milora.tuners.ia3 import Ia3Config, Ia3Model
from milora.tuners.iapt import IaptConfig, IaptHooks, IaptModel
from milora.tuners.learned_adapter import LearnedAdapterConfig, LearnedAdapterHooks, LearnedAdapterModel
from milora.tuners.lora import LoraHooks
from milora.tuners.milora import MiloraConfig, MiloraHooks, MiloraModel
from milora.tuners.moelora import MoeloraConfig, MoeloraHooks, MoeloraModel
from milora.tuners.p_tuning_v2 import PTuningV2Config, PTuningV2Model
from milora.tuners.parallel_adapter import ParallelAdapterConfig, ParallelAdapterModel
from milora.tuners.ssp import SspConfig, SspHooks, SspModel


@dataclass(frozen=True)
class TunerMethod:
    """A method's config, tuner (None: PEFT's own) and part in training."""

    config: type[PeftConfig]
    tuner: type[BaseTuner] | None
    hooks: MethodHooks


_OURS: tuple[tuple[type[PlannedConfig], type[PlannedTuner], type[MethodHooks]], ...] = (
    (MiloraConfig, MiloraModel, MiloraHooks),
    (MoeloraConfig, MoeloraModel, MoeloraHooks),
    (ParallelAdapterConfig, ParallelAdapterModel, MethodHooks),
    (LearnedAdapterConfig, LearnedAdapterModel, LearnedAdapterHooks),
    (PTuningV2Config, PTuningV2Model, MethodHooks),
    (IaptConfig, IaptModel, IaptHooks),
    (BitfitConfig, BitfitModel, MethodHooks),
    (Ia3Config, Ia3Model, MethodHooks),
    (SspConfig, SspModel, SspHooks),
)

METHODS: Mapping[str, TunerMethod] = {
    "LORA": TunerMethod(LoraConfig, None, LoraHooks("LoRA")),
    "ADALORA": TunerMethod(AdaLoraConfig, None, AdaloraHooks("AdaLoRA")),
    **{config.type_name: TunerMethod(config, tuner, hooks(tuner.label)) for config, tuner, hooks in _OURS},
}


def method_of(peft_type: object) -> TunerMethod:
    """The method of a PEFT type.

    Raises:
        MiloraError: ``adapter/unreadable`` for a type that is none of ours.
    """
    # The enum's members are strings of their own name.
    found = METHODS.get(str(getattr(peft_type, "value", peft_type)))
    if found is None:
        raise MiloraError(
            "adapter/unreadable",
            f"The adapter's peft_type is {peft_type!r}; allowed: {', '.join(METHODS)}.",
            path="peft_type",
            found=str(peft_type),
            allowed=", ".join(METHODS),
        )
    return found


def hooks_of(model: nn.Module, adapter: str) -> MethodHooks:
    """The part in training of a model's adapter."""
    return method_of(config_of(model, adapter).peft_type).hooks
