"""``inspectRay``."""

from __future__ import annotations

from typing import Any

from milora.server.call import Call
from milora.server.ranks.group import needs_ray


def inspect_ray(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """What the Ray at an address has to offer."""
    with needs_ray():
        from milora.server.ranks import ray_inspection
    return ray_inspection.inspect_ray(payload["address"])
