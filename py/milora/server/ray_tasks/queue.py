"""The driver's side: tasks handed to Ray's queue, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from milora.errors import MiloraError
from milora.server.ranks.ray_cluster import Cluster, gpus_asked, session_environment, start_ray
from milora.server.ranks.ray_group import reason
from milora.server.ray_tasks.body import run_task

Event = dict[str, Any]


class TaskQueue:
    """Tasks that run programs, each with the same resources; no task is tried twice.

    Attributes:
        about: What ``rayTasksOpen`` gives.
    """

    def __init__(self, address: str, cpus: float, gpus: float | None) -> None:
        """Joins the Ray at an address.

        Raises:
            MiloraError: ``scale/unreachable``, ``scale/no-room``, ``input/invalid-spec``.
        """
        self._cluster = start_ray(address, "ray.address")
        self._streams: dict[Any, str] = {}
        try:
            need = {"CPU": cpus, "GPU": gpus_asked(gpus)}
            nodes = _nodes_with_room(need)
        except BaseException:
            self._cluster.leave()
            raise
        self._remote = ray.remote(run_task).options(
            num_cpus=need["CPU"],
            num_gpus=need["GPU"],
            max_retries=0,
            runtime_env={"env_vars": _environment(self._cluster)},
        )
        self.about: dict[str, Any] = {
            "address": self._cluster.address,
            "nodes": nodes,
            "cpusPerRun": need["CPU"],
            "gpusPerRun": need["GPU"],
        }

    def turn(self, start: Sequence[dict[str, Any]], stop: Sequence[str], seconds: float) -> list[Event]:
        """Starts and stops tasks, then waits for news.

        Raises:
            MiloraError: ``scale/lost``, Ray's head is gone.
        """
        self._cluster.check_head()
        for task in start:
            self._streams[self._remote.remote(task)] = task["id"]
        for stream, identifier in self._streams.items():
            if identifier in stop:
                ray.cancel(stream)
        streams = list(self._streams)
        if not streams:
            return []
        ray.wait(streams, num_returns=1, timeout=seconds)
        ready, _ = ray.wait(streams, num_returns=len(streams), timeout=0)
        return [self._news(stream) for stream in ready]

    def close(self) -> None:
        """Leaves Ray, which ends the tasks that are left."""
        self._streams = {}
        self._cluster.leave()

    def _news(self, stream: Any) -> Event:
        identifier = self._streams[stream]
        try:
            reply: Any = ray.get(next(stream))
            event: Event = {**reply, "id": identifier}
        except (StopIteration, TaskCancelledError, RayTaskError) as error:
            event = {"type": "ended", "id": identifier, "ends": _ends_of(error)}
        except RayError as error:
            event = {"type": "lost", "id": identifier, "reason": _loss(error)}
        if event["type"] != "started":
            del self._streams[stream]
        return event


def _ends_of(error: Exception) -> list[dict[str, Any]]:
    """A task that was stopped has none, also where it had not begun; what it raises is told as its program's end."""
    stopped = (StopIteration, TaskCancelledError)
    if isinstance(error, stopped) or isinstance(getattr(error, "cause", None), stopped):
        return []
    return [{"exitCode": 1, "signal": None, "stdout": "", "stderr": str(error)}]


def _loss(error: RayError) -> str:
    sentence = reason(error).partition(". ")[0]
    return f"the node or process that it ran on is gone ({type(error).__name__}): {sentence}"


def _environment(cluster: Cluster) -> dict[str, str]:
    """Of the task's process, and of its program: the same Python, caches and settings as here."""
    # Without it the package would import torch in the task's process too, which needs none.
    return {**cluster.environment, **session_environment(), "MILORA_SERVER": "1"}


def _nodes_with_room(need: dict[str, float]) -> int:
    """How many nodes can hold a task, once they are free.

    Raises:
        MiloraError: ``scale/no-room``.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    fitting = [node for node in nodes if all(node["Resources"].get(name, 0) >= each for name, each in need.items())]
    if fitting:
        return len(fitting)
    wanted = " and ".join(f"{each:g} {name}s" for name, each in need.items() if each > 0)
    has = "; ".join(
        f"{node['NodeManagerAddress']} has "
        + " and ".join(f"{node['Resources'].get(name, 0):g} {name}s" for name in need)
        for node in nodes
    )
    raise MiloraError(
        "scale/no-room",
        f"A run needs {wanted}, and no node of Ray has that: {has}.",
        path="ray",
        found=wanted,
        allowed=has,
        hint="Ask for less (ray.cpusPerRun, ray.gpusPerRun), or start a larger node first.",
    )
