"""The config of a MiLoRA adapter: the plan of a run, PEFT's ``adapter_config.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from peft.config import PeftConfig

from milora.errors import MiloraError

FORMAT_VERSION = 1
PEFT_TYPE_NAME = "MILORA_PROMPT"

_EXPERT_FIELDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "module": str,
    "in_features": int,
    "out_features": int,
    "rank": int,
    "alpha": (int, float),
}


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
    """The experts of one decoder layer, in the order of the router's outputs. ``path`` is the layer's full path."""

    path: str
    experts: tuple[ExpertPlan, ...]


@dataclass
class MiloraConfig(PeftConfig):
    """The config of a MiLoRA adapter (arXiv 2410.18035): each LoRA module an expert, one router a layer.

    The fields are those of the TypeScript plan (``ts/spec/adapter-config.ts``), one to one.

    Args:
        format_version: The version of this format; a newer one is refused.
        requires: The package to import before loading the adapter.
        r: The rank, where ``layers`` says no other.
        lora_alpha: The scale's numerator; an expert's output is scaled by alpha / rank.
        lora_dropout: Dropout on an expert's input in training.
        target_modules: The last component of each expert's path; ``layers`` decides.
        top_k: Experts activated in each layer.
        pooler: How the prompt's states are pooled.
        activation: The router's activation.
        gate: How an activated expert's output is scaled.
        router_input: ``normalized``: each token's state is RMS-normalised before pooling; ``raw``: as it is.
        hidden_size: Width of the states that enter a layer.
        layers: ``{path, experts: [{name, module, in_features, out_features, rank, alpha}]}`` for each layer.

    Raises:
        MiloraError: ``adapter/unreadable`` for another format version, ``adapter/mismatch`` for a plan that
            contradicts itself.
    """

    format_version: int = field(default=FORMAT_VERSION)
    requires: str = field(default="milora")
    r: int = field(default=32)
    lora_alpha: float = field(default=32.0)
    lora_dropout: float = field(default=0.0)
    target_modules: list[str] = field(default_factory=list)
    top_k: int = field(default=3)
    pooler: Literal["self-attention"] = field(default="self-attention")
    activation: Literal["rational"] = field(default="rational")
    gate: Literal["scaled", "probability"] = field(default="scaled")
    router_input: Literal["normalized", "raw"] = field(default="normalized")
    hidden_size: int = field(default=0)
    layers: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        from peft.utils import PeftType

        self.peft_type = PeftType[PEFT_TYPE_NAME]
        self.check_format_version(self.format_version)
        self.target_modules = list(self.target_modules)
        problems = _choice_problems(self)
        if not problems:
            problems = _plan_problems(self)
        if problems:
            raise MiloraError(
                "adapter/mismatch", "The adapter's config is not valid: " + " ".join(problems), problems=problems
            )

    @staticmethod
    def check_format_version(found: object) -> None:
        """Raises ``adapter/unreadable`` for a format that this package does not read."""
        if found != FORMAT_VERSION:
            raise MiloraError(
                "adapter/unreadable",
                f"The adapter has format version {found}; this milora reads version {FORMAT_VERSION}. "
                "Update the milora package, or train the adapter again.",
                path="format_version",
                found=str(found),
                allowed=str(FORMAT_VERSION),
            )

    @property
    def plan(self) -> list[LayerPlan]:
        """``layers`` as values with names."""
        return [
            LayerPlan(layer["path"], tuple(ExpertPlan(**expert) for expert in layer["experts"]))
            for layer in self.layers
        ]


def _choice_problems(config: MiloraConfig) -> list[str]:
    choices = {
        "pooler": ("self-attention",),
        "activation": ("rational",),
        "gate": ("scaled", "probability"),
        "router_input": ("normalized", "raw"),
    }
    problems = [
        f"{name} is {getattr(config, name)!r}; allowed: {', '.join(allowed)}."
        for name, allowed in choices.items()
        if getattr(config, name) not in allowed
    ]
    if config.hidden_size < 1:
        problems.append(f"hidden_size is {config.hidden_size}; it must be at least 1.")
    if not config.layers:
        problems.append("layers is empty; a MiLoRA adapter needs its plan, one entry for each adapted layer.")
    return problems


def _plan_problems(config: MiloraConfig) -> list[str]:
    problems: list[str] = []
    seen: set[str] = set()
    for index, layer in enumerate(config.layers):
        where = f"layers[{index}]"
        if not isinstance(layer, dict) or set(layer) != {"path", "experts"} or not layer["experts"]:
            problems.append(f"{where} must have a path and at least one expert, nothing else.")
            continue
        for position, expert in enumerate(layer["experts"]):
            problems += _expert_problems(expert, f"{where}.experts[{position}]")
        full = [f"{layer['path']}.{expert.get('module')}" for expert in layer["experts"]]
        if len(set(full)) < len(full) or layer["path"] in seen:
            problems.append(f"{where} names a layer or a module twice.")
        seen.add(layer["path"])
        if not 1 <= config.top_k <= len(layer["experts"]):
            problems.append(f"top_k is {config.top_k}, but {where} ({layer['path']}) has {len(full)} experts.")
    return problems


def _expert_problems(expert: object, where: str) -> list[str]:
    if not isinstance(expert, dict) or set(expert) != set(_EXPERT_FIELDS):
        return [f"{where} must have exactly the fields {', '.join(_EXPERT_FIELDS)}."]
    problems: list[str] = []
    for name, kind in _EXPERT_FIELDS.items():
        value = expert[name]
        if not isinstance(value, kind) or isinstance(value, bool) or (not isinstance(value, str) and value <= 0):
            problems.append(f"{where}.{name} is {value!r}, which is not allowed.")
    return problems
