"""The state of a training as a folder: everything a later process needs to go on bit for bit."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from milora.errors import MiloraError
from milora.models import atomic_folder, own_part
from milora.training.all_random_states import joined, read_random, write_random
from milora.training.optimizer import GroupOptimizer
from milora.training.session import TrainingSession

_format = 1
_tensors_name = "training.safetensors"
_json_name = "training.json"
_moments = ("exp_avg", "exp_avg_sq", "step")
_sampled_numbers = 32


def save_training(session: TrainingSession, folder: Path) -> int:
    """Writes weights, both optimisers and all random generators; the folder is whole or not there.

    All ranks take part, and the first one writes.

    Returns:
        Bytes written.

    Raises:
        MiloraError: ``run/disk`` when the disk is full or cannot be written; an older state there stays whole.
    """
    tensors = {**_group_tensors("weights", session.weights), **_group_tensors("activation", session.activation)}
    tensors |= _scale_tensors(session)
    method = session.hooks.state(session.model, session.adapter)
    tensors |= {f"method.{name}": tensor for name, tensor in method.items()}
    random, random_tensors = joined(session.ranks.gathered(read_random()))
    tensors |= random_tensors
    document = {
        "format": _format,
        "adapter": session.adapter,
        "base": base_fingerprint(session),
        "random": random,
    }
    if session.ranks.index > 0:
        return 0
    try:
        with atomic_folder(folder) as aside:
            save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, aside / _tensors_name)
            (aside / _json_name).write_text(json.dumps(document), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        free = shutil.disk_usage(folder.parent).free if folder.parent.is_dir() else 0
        raise MiloraError(
            "run/disk",
            f"The training state could not be written to {folder} ({free} bytes free): {error}",
            file=str(folder),
            hint="Free some space; the last checkpoint is whole.",
        ) from error
    return sum(path.stat().st_size for path in folder.iterdir())


def load_training(session: TrainingSession, folder: Path) -> None:
    """Puts a saved state into a session of the same adapter; nothing changes unless all of it fits.

    Raises:
        MiloraError: ``run/not-resumable``, naming what is missing, unexpected or of another shape; also for a state
            of another base model.
    """
    document, tensors = _read(folder)
    if document.get("format") != _format:
        raise _not_resumable(folder, f"its format is {document.get('format')}, this version reads {_format}")
    # States of older versions do not name their base.
    if document.get("base") not in (None, base_fingerprint(session)):
        raise _not_resumable(folder, "it is of another base model, whose weights differ from those that are open")
    groups = {"weights": session.weights, "activation": session.activation}
    held = {name.removeprefix("method."): tensor for name, tensor in tensors.items() if name.startswith("method.")}
    expected = session.hooks.state(session.model, session.adapter)
    problems = _problems(groups, tensors) + [
        f"the method's state {name} is missing or of another shape"
        for name, tensor in expected.items()
        if name not in held or held[name].shape != tensor.shape
    ]
    if problems:
        raise _not_resumable(folder, "; ".join(problems[:5]), problems)
    for prefix, group in groups.items():
        _restore_group(prefix, group, tensors)
    session.hooks.load_state(session.model, session.adapter, held)
    if session.scale is not None and "scale.value" in tensors:
        session.scale.load_state({name: tensors[f"scale.{name}"] for name in session.scale.state()})
    write_random(document["random"], tensors, session.ranks.index)


def base_fingerprint(session: TrainingSession) -> str:
    """A checksum of the frozen model: its parameters' names and shapes, and the first numbers of each in bfloat16.

    It is the same for the same weights held in float32 and in bfloat16, and costs one small transfer.
    """
    trained = {id(p) for group in (session.weights, session.activation) for p in group.parameters.values()}
    others = set(getattr(session.model, "peft_config", {})) - {session.adapter}
    # Other adapters may be there or not, and wrap modules or not.
    frozen = [
        (name.replace(".base_layer.", "."), parameter)
        for name, parameter in session.model.named_parameters()
        if id(parameter) not in trained and others.isdisjoint(name.split("."))
    ]
    digest = hashlib.sha256()
    digest.update(json.dumps([(name, list(parameter.shape)) for name, parameter in frozen]).encode())
    samples = [own_part(parameter.detach()).flatten()[:_sampled_numbers].bfloat16() for _, parameter in frozen]
    if session.ranks.lockstep:
        # Parts follow one another in the order of the ranks; of what is whole on each the first one's is taken.
        parts = session.ranks.gathered([sample.cpu() for sample in samples])
        samples = [torch.cat(sample)[:_sampled_numbers] for sample in zip(*parts, strict=True)]
    if samples:
        digest.update(torch.cat(samples).cpu().view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def _scale_tensors(session: TrainingSession) -> dict[str, Tensor]:
    return {f"scale.{name}": tensor for name, tensor in session.scale.state().items()} if session.scale else {}


def _group_tensors(prefix: str, group: GroupOptimizer) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, parameter in group.parameters.items():
        tensors[f"{prefix}.value.{name}"] = parameter.detach()
        state = group.adamw.state.get(parameter, {}) if group.adamw is not None else {}
        # Before a group's first step AdamW has no moments yet.
        tensors |= {f"{prefix}.{moment}.{name}": state[moment] for moment in _moments if moment in state}
    return tensors


def _restore_group(prefix: str, group: GroupOptimizer, tensors: dict[str, Tensor]) -> None:
    if group.adamw is None:
        return
    group.adamw.state.clear()
    with torch.no_grad():
        for name, parameter in group.parameters.items():
            parameter.copy_(tensors[f"{prefix}.value.{name}"])
            if f"{prefix}.step.{name}" in tensors:
                group.adamw.state[parameter] = {
                    moment: tensors[f"{prefix}.{moment}.{name}"].to(parameter.device) for moment in _moments
                }


def _problems(groups: dict[str, GroupOptimizer], tensors: dict[str, Tensor]) -> list[str]:
    expected: dict[str, torch.Size] = {}
    for prefix, group in groups.items():
        has_moments = any(name.startswith(f"{prefix}.step.") for name in tensors)
        for name, parameter in group.parameters.items():
            expected[f"{prefix}.value.{name}"] = parameter.shape
            if has_moments:
                expected |= {f"{prefix}.{moment}.{name}": parameter.shape for moment in _moments[:2]}
                expected[f"{prefix}.step.{name}"] = torch.Size(())
    found = {
        name: tensor.shape for name, tensor in tensors.items() if not name.startswith(("random.", "method.", "scale."))
    }
    missing = [f"{name} is missing" for name in expected if name not in found]
    unexpected = [f"{name} is unexpected" for name in found if name not in expected]
    shapes = [
        f"{name} has shape {list(found[name])}, the model needs {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    lacking = ["random.torch is missing"] if "random.torch" not in tensors else []
    return missing + unexpected + shapes + lacking


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        document = json.loads((folder / _json_name).read_text(encoding="utf-8"))
        tensors = load_file(folder / _tensors_name)
    except (OSError, ValueError, SafetensorError) as error:
        raise _not_resumable(folder, str(error)) from error
    if not isinstance(document, dict):
        raise _not_resumable(folder, f"{_json_name} holds no object")
    return document, tensors


def _not_resumable(folder: Path, fault: str, problems: list[str] | None = None) -> MiloraError:
    return MiloraError(
        "run/not-resumable",
        f"The training state in {folder} does not fit this run: {fault}",
        file=str(folder),
        problems=problems or [fault],
    )
