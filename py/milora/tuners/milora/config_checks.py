"""What contradicts itself in a MiLoRA adapter's config; a problem names its layer, where it has one, and field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

CHOICES: Mapping[str, tuple[str, ...]] = {
    "expert": ("lora", "dora"),
    "policy": ("learned", "fixed"),
    "pooler": ("self-attention", "average", "max", "last-token"),
    "gate": ("scaled", "probability", "none"),
    "accumulate": ("base", "float32"),
    "router_input": ("normalized", "raw"),
}
"""Fields of a closed set of values."""

ACTIVATIONS = ("rational", "gelu", "relu")
LAYER_FIELDS = ("path", "activation", "chosen", "experts")
EXPERT_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "module": str,
    "in_features": int,
    "out_features": int,
    "rank": int,
    "alpha": (int, float),
}
MAX_DROPOUT = 0.9

_EXPERT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class ConfigFields(Protocol):
    """What is checked of a config."""

    r: int
    lora_alpha: float
    lora_dropout: float
    target_modules: list[str]
    policy: Any
    top_k: int
    hidden_size: int
    layers: list[dict[str, Any]]


def config_problems(config: ConfigFields) -> list[str]:
    """Every contradiction of a config, one sentence each; the layers are looked at once the rest is right."""
    problems = [
        f"{name} is {getattr(config, name)!r}; allowed: {', '.join(allowed)}."
        for name, allowed in CHOICES.items()
        if getattr(config, name) not in allowed
    ]
    for name in ("hidden_size", "r", "top_k"):
        value = getattr(config, name)
        if not _is_positive(value, int):
            problems.append(f"{name} is {value!r}; it must be a whole number of at least 1.")
    if not _is_positive(config.lora_alpha, (int, float)):
        problems.append(f"lora_alpha is {config.lora_alpha!r}; it must be above 0.")
    dropout = config.lora_dropout
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= MAX_DROPOUT:
        problems.append(f"lora_dropout is {dropout!r}; allowed: 0 to {MAX_DROPOUT}.")
    if not config.layers:
        problems.append("layers is empty; a MiLoRA adapter needs its plan, one entry for each adapted layer.")
    return problems or _layers_problems(config)


def _layers_problems(config: ConfigFields) -> list[str]:
    problems: list[str] = []
    paths: set[str] = set()
    for index, layer in enumerate(config.layers):
        where = f"layers[{index}]"
        if not isinstance(layer, dict) or set(layer) != set(LAYER_FIELDS):
            problems.append(f"{where} must have exactly the fields {', '.join(LAYER_FIELDS)}.")
            continue
        path, experts = layer["path"], layer["experts"]
        if not isinstance(path, str) or not path:
            problems.append(f"{where}.path is {path!r}; it must be a layer's path, such as 'model.layers.0'.")
            continue
        where = f"{where} ({path})"
        if path in paths:
            problems.append(f"{where} is named twice.")
        paths.add(path)
        if not isinstance(experts, list) or not experts:
            problems.append(f"{where}.experts is empty; a layer of the plan needs at least one.")
            continue
        found = _experts_problems(experts, where, config.target_modules)
        problems += found or [*_routing_problems(config, layer, where)]
    return problems


def _experts_problems(experts: list[Any], where: str, target_modules: list[str]) -> list[str]:
    problems: list[str] = []
    for index, expert in enumerate(experts):
        problems += _expert_problems(expert, f"{where}.experts[{index}]")
    if problems:
        return problems
    for name in ("name", "module"):
        values = [expert[name] for expert in experts]
        twice = sorted({value for value in values if values.count(value) > 1})
        problems += [f"{where}.experts: the {name} {value!r} is there twice." for value in twice]
    for expert in experts:
        last = expert["module"].rpartition(".")[2]
        if last not in target_modules:
            problems.append(f"{where}: {expert['module']} ends in {last!r}, which target_modules lacks.")
    return problems


def _expert_problems(expert: object, where: str) -> list[str]:
    if not isinstance(expert, dict) or set(expert) != set(EXPERT_FIELDS):
        return [f"{where} must have exactly the fields {', '.join(EXPERT_FIELDS)}."]
    problems: list[str] = []
    for name, kind in EXPERT_FIELDS.items():
        value = expert[name]
        right = isinstance(value, str) and value != "" if kind is str else _is_positive(value, kind)
        if not right:
            problems.append(f"{where}.{name} is {value!r}, which is not allowed.")
    if not problems and not _EXPERT_NAME.fullmatch(expert["name"]):
        problems.append(f"{where}.name is {expert['name']!r}; it must be letters, digits and _, a letter first.")
    return problems


def _routing_problems(config: ConfigFields, layer: dict[str, Any], where: str) -> list[str]:
    names = [expert["name"] for expert in layer["experts"]]
    problems: list[str] = []
    if layer["activation"] not in ACTIVATIONS:
        problems.append(f"{where}.activation is {layer['activation']!r}; allowed: {', '.join(ACTIVATIONS)}.")
    chosen = layer["chosen"]
    if config.policy == "learned":
        if chosen is not None:
            problems.append(f"{where}.chosen is {chosen!r}; with policy 'learned' it must be null.")
        if config.top_k > len(names):
            problems.append(f"top_k is {config.top_k}, but {where} has {len(names)} experts.")
        return problems
    if not isinstance(chosen, list):
        return [*problems, f"{where}.chosen is {chosen!r}; with policy 'fixed' it must list the active experts."]
    for name in dict.fromkeys(str(name) for name in chosen):
        if name not in names:
            problems.append(f"{where}.chosen names {name!r}, which is no expert there; it has {', '.join(names)}.")
        if chosen.count(name) > 1:
            problems.append(f"{where}.chosen names {name!r} twice.")
    return problems


def _is_positive(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and isinstance(value, int | float) and value > 0
