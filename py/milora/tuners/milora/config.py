"""The config of a MiLoRA adapter: the plan of a run, PEFT's ``adapter_config.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from milora.routing.activation import ActivationName
from milora.routing.gates import Gate
from milora.routing.pooler import PoolerName
from milora.tuners.base import FORMAT_VERSION as FORMAT_VERSION
from milora.tuners.base import PlannedConfig, Site
from milora.tuners.milora.config_checks import config_problems

PEFT_TYPE_NAME = "MILORA_PROMPT"

ExpertKind = Literal["lora", "dora"]
"""What an expert is: a LoRA module (MiLoRA) or a DoRA module (MiDoRA)."""

Accumulate = Literal["base", "float32"]
"""The dtype in which base output and adapter output are added."""


@dataclass(frozen=True)
class ExpertPlan:
    """One adapted linear module of a layer. ``module`` is its path inside the layer."""

    name: str
    module: str
    in_features: int
    out_features: int
    rank: int
    alpha: float


@dataclass(frozen=True)
class LayerPlan:
    """The experts of one decoder layer, in the order of the router's outputs.

    ``path`` is the layer's full path; ``chosen`` the active experts' names with policy ``fixed``, else None.
    """

    path: str
    activation: ActivationName
    chosen: tuple[str, ...] | None
    experts: tuple[ExpertPlan, ...]


@dataclass
class MiloraConfig(PlannedConfig):
    """The config of a MiLoRA adapter (arXiv 2410.18035): each LoRA or DoRA module an expert, one router a layer.

    The fields are those of the TypeScript plan (``ts/spec/adapter-config.ts``), one to one.

    Args:
        format_version: The version of this format; a newer one is refused.
        requires: The package to import before loading the adapter.
        r: The rank, where ``layers`` says no other.
        lora_alpha: The scale's numerator; an expert's output is scaled by alpha / rank.
        lora_dropout: Dropout on an expert's input in training, 0 to 0.9.
        expert: ``lora`` (MiLoRA) or ``dora`` (MiDoRA).
        policy: ``learned``: a router a layer decides by the prompt; ``fixed``: each layer's ``chosen``, no routers.
        target_modules: The last component of each expert's path; ``layers`` decides.
        top_k: Experts activated in each layer.
        pooler: How the prompt's states become one vector.
        gate: How an activated expert's output is scaled; see :func:`milora.routing.gates.top_k_gates`.
        accumulate: ``base``: outputs are added in the base's dtype; ``float32``: in float32, then rounded.
        router_input: ``normalized``: each token's state is RMS-normalised before pooling; ``raw``: as it is.
        hidden_size: Width of the states that enter a layer.
        layers: ``{path, activation, chosen, experts: [{name, module, in_features, out_features, rank, alpha}]}`` for
            each layer; ranks and alphas may differ from expert to expert.

    Raises:
        MiloraError: ``adapter/unreadable`` for another format version, ``adapter/mismatch`` for a plan that
            contradicts itself.
    """

    type_name: ClassVar[str] = PEFT_TYPE_NAME

    r: int = field(default=32)
    lora_alpha: float = field(default=32.0)
    lora_dropout: float = field(default=0.0)
    expert: ExpertKind = field(default="lora")
    policy: Literal["learned", "fixed"] = field(default="learned")
    top_k: int = field(default=3)
    pooler: PoolerName = field(default="self-attention")
    gate: Gate = field(default="scaled")
    accumulate: Accumulate = field(default="base")
    router_input: Literal["normalized", "raw"] = field(default="normalized")

    def problems(self) -> list[str]:
        """What contradicts itself, one sentence each."""
        return config_problems(self)

    def _planned_sites(self) -> list[Site]:
        return [
            Site(expert.name, layer.path, expert.module, expert.in_features, expert.out_features)
            for layer in self.plan
            for expert in layer.experts
        ]

    @property
    def plan(self) -> list[LayerPlan]:
        """``layers`` as values with names."""
        return [
            LayerPlan(
                layer["path"],
                layer["activation"],
                None if layer["chosen"] is None else tuple(layer["chosen"]),
                tuple(ExpertPlan(**expert) for expert in layer["experts"]),
            )
            for layer in self.layers
        ]
