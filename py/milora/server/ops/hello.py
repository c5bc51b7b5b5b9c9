"""``hello``: what this Python is."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from milora.models import available_devices
from milora.server.call import Call


def hello(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Versions and devices."""
    devices = [
        {"type": kind.partition(":")[0], "name": name, "memoryBytes": memory}
        for kind, name, memory in available_devices()
    ]
    return {
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "peft": version("peft"),
        "platform": platform.platform(),
        "pid": os.getpid(),
        "devices": devices,
    }
