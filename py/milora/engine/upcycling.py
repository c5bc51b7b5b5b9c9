"""Adapters made of others: LoRA modules as experts, experts as LoRA modules."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from milora.checkpoint import read_adapter
from milora.engine.adapters import AdapterHost
from milora.engine.plain_lora import check_plain, read_plain_lora, scale_problem
from milora.errors import MiloraError
from milora.models.atomic_folder import atomic_folder
from milora.tuners import build_config
from milora.tuners.milora import MiloraConfig

_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_SHOWN = 3


@dataclass(frozen=True)
class _Expert:
    """One planned expert; ``path`` is its module's full path."""

    name: str
    layer: str
    path: str
    rank: int
    alpha: float
    in_features: int
    out_features: int

    def keys(self, down: str, up: str) -> tuple[tuple[str, list[int]], tuple[str, list[int]]]:
        """Keys and shapes of A, [rank, in], and B, [out, rank], in an adapter's file."""
        prefix = f"base_model.model.{self.path}"
        a, b = [self.rank, self.in_features], [self.out_features, self.rank]
        return (f"{prefix}.{down}", a), (f"{prefix}.{up}", b)

    @property
    def lora_keys(self) -> tuple[tuple[str, list[int]], tuple[str, list[int]]]:
        """As PEFT's LoRA names them."""
        return self.keys("lora_A.weight", "lora_B.weight")

    @property
    def milora_keys(self) -> tuple[tuple[str, list[int]], tuple[str, list[int]]]:
        """As a MiLoRA adapter names them."""
        return self.keys("milora_prompt_down", "milora_prompt_up")


def import_lora(host: AdapterHost, folder: Path, out: Path, config: dict[str, Any], seed: int) -> int:
    """Writes a MiLoRA adapter whose experts are a PEFT LoRA adapter's modules; gives its number of parameters.

    Args:
        host: Its base model is what the adapters are for.
        folder: The LoRA adapter.
        out: The new adapter's folder.
        config: The new adapter's plan, with the LoRA adapter's ranks and scales.
        seed: Of the routers.

    Raises:
        MiloraError: ``adapter/not-found``, ``adapter/unreadable``, ``adapter/unsupported`` for more than plain LoRA
            modules, ``adapter/mismatch`` for missing or misshapen ones.
    """
    lora_config, lora = read_plain_lora(folder)
    _check_lora_experts(config, "The plan")
    experts = list(_experts(config))
    _check_lora(folder, lora, experts)
    problems = _scale_problems(lora_config, config, experts)
    _raise_mismatch(f"The plan does not have the scales of the adapter in {folder}", problems, folder)
    # Built in the model, so that it is held to the model's modules, under a name that nobody has.
    name = next(name for number in itertools.count() if (name := f"imported-{number}") not in host.names)
    host.attach(name, config, seed)
    try:
        tensors = host.tensors(name)
        for expert in experts:
            for (source, _), (target, _) in zip(expert.lora_keys, expert.milora_keys, strict=True):
                tensors[target] = lora[source].to(tensors[target])
        host.unload(name)
        host.attach(name, config, seed, tensors=tensors)
        host.save(name, out)
    finally:
        if name in host.names:
            host.unload(name)
    return sum(tensor.numel() for tensor in tensors.values())


def export_lora(folder: Path, out: Path, config: dict[str, Any], chosen: Mapping[str, Sequence[str]]) -> int:
    """Writes the chosen experts of a MiLoRA adapter as a plain PEFT LoRA adapter; gives its number of parameters.

    Args:
        folder: The MiLoRA adapter.
        out: The LoRA adapter's folder.
        config: PEFT's LoRA config, its targets the chosen experts' full paths, its scales theirs.
        chosen: Names of the active experts by layer path.

    Raises:
        MiloraError: those of reading the folder; ``adapter/unsupported`` for experts that are no LoRA modules, or
            none; ``input/unknown-name`` for an unknown layer or expert; ``adapter/mismatch`` where the config says
            other modules or scales, or a tensor does not fit; ``run/disk``.
    """
    planned, tensors = read_adapter(folder)
    _check_lora_experts(planned, f"The adapter in {folder}")
    experts = _chosen_experts(planned, chosen)
    _check_export_config(config, experts, out, planned)
    kept: dict[str, Tensor] = {}
    problems: list[str | None] = []
    for expert in experts:
        for (source, shape), (target, _) in zip(expert.milora_keys, expert.lora_keys, strict=True):
            if source not in tensors or list(tensors[source].shape) != shape:
                found = f"has shape {list(tensors[source].shape)}" if source in tensors else "is missing"
                problems.append(f"{source} {found}, expected {shape}.")
                continue
            kept[target] = tensors[source].contiguous()
    _raise_mismatch(f"The weights of the adapter in {folder} do not fit its config", problems, folder)
    try:
        with atomic_folder(out) as fresh:
            save_file(kept, fresh / _WEIGHTS, metadata={"format": "pt"})
            (fresh / _CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise MiloraError("run/disk", f"Could not write the adapter to {out}: {error}.", file=str(out)) from error
    return sum(tensor.numel() for tensor in kept.values())


def _experts(config: dict[str, Any]) -> Iterator[_Expert]:
    for layer in config["layers"]:
        for expert in layer["experts"]:
            yield _Expert(
                expert["name"],
                layer["path"],
                f"{layer['path']}.{expert['module']}",
                expert["rank"],
                expert["alpha"],
                expert["in_features"],
                expert["out_features"],
            )


def _check_lora_experts(config: dict[str, Any], what: str) -> None:
    """Only a MiLoRA adapter over LoRA modules has A and B and nothing else in a module."""
    built = build_config(config)
    if isinstance(built, MiloraConfig) and built.expert == "lora":
        return
    found = built.expert if isinstance(built, MiloraConfig) else str(built.peft_type)
    message = f"{what} is not a MiLoRA adapter over LoRA modules: found {found}."
    raise MiloraError("adapter/unsupported", message, found=found, allowed="MILORA_PROMPT with expert lora")


def _chosen_experts(config: dict[str, Any], chosen: Mapping[str, Sequence[str]]) -> list[_Expert]:
    experts = list(_experts(config))
    known: dict[str, list[str]] = {}
    for expert in experts:
        known.setdefault(expert.layer, []).append(expert.name)
    for path, names in chosen.items():
        for name in names:
            if name in known.get(path, ()):
                continue
            allowed = ", ".join(known.get(path, known))
            fault = f"no expert {name!r} in {path}" if path in known else f"no layer {path}"
            message = f"chosen: the adapter has {fault}; it has {allowed}."
            raise MiloraError("input/unknown-name", message, path=f"chosen.{path}", found=name, allowed=allowed)
    kept = [expert for expert in experts if expert.name in chosen.get(expert.layer, ())]
    if not kept:
        message = "chosen names no expert, so there is nothing to export."
        raise MiloraError("adapter/unsupported", message, path="chosen")
    return kept


def _scale_problems(lora: dict[str, Any], milora: dict[str, Any], kept: Sequence[_Expert]) -> list[str | None]:
    """Where a LoRA config's scales are not those of the kept experts.

    The gates of a learned policy add up to k, so an expert is as much stronger as fewer of them are active
    (``ts/methods/upcycling.ts``).
    """
    routed = milora["policy"] == "learned" and milora["gate"] != "probability"
    num_experts = Counter(expert.layer for expert in _experts(milora))
    num_kept = Counter(expert.layer for expert in kept)
    share = {
        layer: min(milora["top_k"], num_experts[layer]) / count if routed else 1.0 for layer, count in num_kept.items()
    }
    return [scale_problem(lora, expert.path, expert.rank, expert.alpha * share[expert.layer]) for expert in kept]


def _check_export_config(
    config: dict[str, Any], experts: Sequence[_Expert], out: Path, planned: dict[str, Any]
) -> None:
    """The written config must mean exactly these modules, at their scales, to PEFT."""
    build_config(config)
    check_plain(config, "The config to write", out)
    targets = config.get("target_modules")
    found = set(targets) if isinstance(targets, list) else {str(targets)}
    paths = {expert.path for expert in experts}
    problems = [f"target_modules lacks {path}." for path in sorted(paths - found)]
    problems += [f"target_modules names {path}, which is not chosen." for path in sorted(found - paths)]
    scales = _scale_problems(config, planned, experts)
    _raise_mismatch("The LoRA config is not that of the chosen experts", [*problems, *scales], out)


def _raise_mismatch(what: str, problems: Sequence[str | None], folder: Path) -> None:
    found = [problem for problem in problems if problem is not None]
    if found:
        more = f" And {len(found) - _SHOWN} more." if len(found) > _SHOWN else ""
        message = f"{what}. {' '.join(found[:_SHOWN])}{more}"
        raise MiloraError("adapter/mismatch", message, file=str(folder), problems=found)


def _check_lora(folder: Path, tensors: dict[str, Tensor], experts: list[_Expert]) -> None:
    wanted = {key: shape for expert in experts for key, shape in expert.lora_keys}
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        message = (
            f"The adapter in {folder} holds more than LoRA modules of the decoder layers: {', '.join(extra[:5])}."
        )
        hint = "Only A and B of linear modules in the decoder layers can become experts."
        raise MiloraError("adapter/unsupported", message, found=extra[0], problems=extra, hint=hint)
    problems = [f"{key} is missing" for key in wanted if key not in tensors]
    problems += [
        f"{key} has shape {list(tensors[key].shape)}, the model needs {shape}"
        for key, shape in wanted.items()
        if key in tensors and list(tensors[key].shape) != shape
    ]
    if problems:
        message = f"The adapter in {folder} does not fit the model: {'; '.join(problems[:3])}."
        raise MiloraError("adapter/mismatch", message, file=str(folder), problems=problems)
