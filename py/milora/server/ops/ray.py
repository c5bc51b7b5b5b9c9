"""``inspectRay``, and programs as tasks of Ray: ``rayTasksOpen``, ``rayTasksTurn``, ``rayTasksClose``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ranks.group import needs_ray

if TYPE_CHECKING:
    from milora.server.ray_tasks.queue import TaskQueue

_queue: TaskQueue | None = None


def inspect_ray(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """What the Ray at an address has to offer."""
    with needs_ray():
        from milora.server.ranks import ray_inspection
    return ray_inspection.inspect_ray(payload["address"])


def ray_tasks_open(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Joins the Ray at an address; one that was joined before is left."""
    global _queue
    with needs_ray("ray"):
        from milora.server.ray_tasks.queue import TaskQueue
    ray_tasks_close({}, call)
    _queue = TaskQueue(payload["address"], payload["cpusPerRun"], payload["gpusPerRun"])
    return _queue.about


def ray_tasks_turn(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Starts and stops tasks, and tells what became of any."""
    if _queue is None:
        raise MiloraError("bridge/protocol", "rayTasksTurn was called before rayTasksOpen.")
    return {"events": _queue.turn(payload["start"], payload["stop"], payload["seconds"])}


def ray_tasks_close(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Leaves Ray, if it was joined."""
    global _queue
    leaving, _queue = _queue, None
    if leaving is not None:
        leaving.close()
    return {}
