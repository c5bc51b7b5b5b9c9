"""``attachAdapter``, ``loadAdapter``, ``unloadAdapter``, ``saveAdapter``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milora.server.call import Call
from milora.server.ops import session
from milora.tuners import count_parameters


def attach_adapter(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Adds a new adapter from a plan."""
    host = session.current().host
    model = host.attach(payload["adapter"], payload["config"], payload["seed"])
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
    """Removes an adapter."""
    session.current().host.unload(payload["adapter"])
    return {}


def save_adapter(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Writes an adapter in PEFT's layout."""
    return {"bytes": session.current().host.save(payload["adapter"], Path(payload["folder"]))}
