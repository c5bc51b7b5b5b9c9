"""``attachAdapter``, ``loadAdapter``, ``unloadAdapter``, ``saveAdapter``, ``importLora``, ``exportLora``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milora.engine import export_lora, import_lora, warm_start_tensors
from milora.server.call import Call
from milora.server.ops import session
from milora.tuners import count_parameters


def attach_adapter(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Adds a new adapter from a plan."""
    host = session.current().host
    config, tensors = payload["config"], None
    if payload["warmStart"] is not None:
        tensors = warm_start_tensors(Path(payload["warmStart"]), config)
    model = host.attach(payload["adapter"], config, payload["seed"], tensors=tensors, trains=payload["trains"])
    counts = count_parameters(model, payload["adapter"])
    return {
        "trainable": counts["trainable"],
        "routerParameters": counts["router"],
        "activationParameters": counts["activation"],
    }


def load_adapter(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Adds an adapter from a folder in PEFT's layout."""
    host = session.current().host
    model = host.load(payload["adapter"], Path(payload["folder"]))
    counts = count_parameters(model, payload["adapter"])
    return {"config": host.config(payload["adapter"]), "parameters": counts["trainable"]}


def unload_adapter(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Removes an adapter and the decisions that it made."""
    opened = session.current()
    opened.host.unload(payload["adapter"])
    opened.decisions.forget(payload["adapter"])
    return {}


def save_adapter(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Writes an adapter in PEFT's layout; of several ranks the first one writes, from a model alike on all."""
    host = session.current().host
    with host.use(payload["adapter"]):
        first = session.ranks().index == 0
        return {"bytes": host.save(payload["adapter"], Path(payload["folder"])) if first else 0}


def import_lora_op(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """A PEFT LoRA adapter's modules as the experts of a MiLoRA adapter."""
    host = session.current().host
    folder, out = Path(payload["folder"]), Path(payload["out"])
    return {"parameters": import_lora(host, folder, out, payload["config"], payload["seed"])}


def export_lora_op(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """The active experts of a MiLoRA adapter as a plain PEFT LoRA adapter; needs no open model."""
    folder, out = Path(payload["folder"]), Path(payload["out"])
    return {"parameters": export_lora(folder, out, payload["config"], payload["chosen"])}
