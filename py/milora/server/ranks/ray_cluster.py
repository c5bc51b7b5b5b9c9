"""Ray itself: found or started, with room for the ranks."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.util import get_node_ip_address, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from milora.errors import MiloraError
from milora.models import SHARDED_MALLOC
from milora.server.ranks.errors import lost
from milora.server.ranks.rank import PACKAGE, Rank

# Only texts pass through it: rows, weights and checkpoints go by files.
_OBJECT_STORE_BYTES = 100 * 2**20
_CONNECT_SECONDS = 3.0
_MISSES = 2
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_LEAVE = 1.0
_SECONDS_TO_PLACE = 5.0
# Ray gives a node that it starts 30 seconds, which a busy machine may need more than once.
_TRIES_TO_START = 3
# A Ray that is started here tells nobody of its use, gathers no metrics, starts no process before it is needed, and
# gives its processes the priority of any other (by itself it would take 15 off).
_LEAN = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_niceness": "0",
}
# What ranks take over from the driver's environment.
_FORWARDED = ("HF_", "NCCL_", "GLOO_", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
# What programs that are tasks take over besides: the choice of their Python, and its threads.
_FORWARDED_TO_PROGRAMS = ("MILORA_", "OMP_", "VIRTUAL_ENV", "CONDA_PREFIX")


@dataclass
class Cluster:
    """A Ray that this process is connected to.

    ``address`` is its head's, ``own_host`` what ranks reach this process at, ``environment`` what they get of this
    one's variables; ``local`` is a Ray that was started here, for this session alone.
    """

    address: str
    own_host: str
    environment: dict[str, str]
    local: bool
    _missed: int = field(default=0, init=False)
    _looked_at: float = field(default_factory=time.monotonic, init=False)

    def check_head(self) -> None:
        """Once a second, over short calls too: without its head Ray ends the driver after a while.

        Raises:
            MiloraError: ``scale/lost``.
        """
        now = time.monotonic()
        if now - self._looked_at < _SECONDS_BETWEEN_LOOKS:
            return
        self._looked_at = now
        if not self.answers():
            raise lost("Ray's head", f"nothing answers at {self.address}.")

    def answers(self) -> bool:
        """False once a connection to the head was refused, or nobody answered twice in a row."""
        try:
            _connect(self.address)
        except ConnectionRefusedError:
            self._missed = _MISSES
        except OSError:
            self._missed += 1
        else:
            self._missed = 0
        return self._missed < _MISSES

    def leave(self) -> None:
        """Ends the connection, and a Ray that was started here with all its processes."""
        started = _processes_of_ray() if self.local else []
        if self._missed >= _MISSES:
            # Ray looks for its head for some seconds more; who waits for an error need not.
            _kill(started)
            global _leaving
            _leaving = threading.Thread(target=ray.shutdown, daemon=True, name="milora-leaves-ray")
            _leaving.start()
            return
        ray.shutdown()
        # On a busy machine Ray ends its node before that has ended its agents.
        _kill(psutil.wait_procs(started, timeout=_SECONDS_TO_LEAVE)[1])


# Leaves a Ray whose head was lost; a process is connected to one Ray at a time.
_leaving: threading.Thread | None = None


def start_ray(address: str | None, path: str = "scale.address") -> Cluster:
    """Joins the Ray at an address (``auto``: the one of this machine), or starts one on this machine.

    Args:
        address: None starts one.
        path: The setting that names the address, for errors.

    Raises:
        MiloraError: ``scale/unreachable``; ``input/invalid-spec`` for the address of a Ray client's server.
    """
    if address is not None and address.startswith("ray://"):
        message = f"{path} is {address}: the nodes must reach this process, which a Ray client hides."
        hint = f"Run milora on a node of the cluster, and set {path} to auto or to the head's host:port."
        raise MiloraError("input/invalid-spec", message, path=path, found=address, hint=hint)
    if address is not None and address != "auto":
        try:
            _connect(address)
        except OSError as error:
            raise _unreachable(address, str(error), path) from error
    for name, value in _LEAN.items():
        os.environ.setdefault(name, value)
    if _leaving is not None:
        _leaving.join()
    try:
        _init(address)
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _unreachable(address or "this machine", text, path) from error
    own_host = "127.0.0.1" if address is None else get_node_ip_address()
    local = address is None
    return Cluster(ray.get_runtime_context().gcs_address, own_host, _environment(local), local)


def _init(address: str | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is not None:
        ray.init(address=address, **quiet)
        return
    for left in reversed(range(_TRIES_TO_START)):
        try:
            ray.init(address="local", include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **quiet)
            return
        except Exception:
            # Ray's own is a bare Exception where a node was not up in time; the last try's is raised.
            ray.shutdown()
            if left == 0:
                raise


def _environment(local: bool) -> dict[str, str]:
    """Variables of the ranks; between processes of one machine the loopback is surely there."""
    given = {name: value for name, value in os.environ.items() if name.startswith(_FORWARDED)}
    if local:
        given.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    path = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    return {**given, "PYTHONPATH": os.pathsep.join(each for each in path if each)}


def session_environment() -> dict[str, str]:
    """What a program on a node takes over from here, besides what a rank does: which Python, which caches."""
    return {name: value for name, value in os.environ.items() if name.startswith(_FORWARDED_TO_PROGRAMS)}


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_SECONDS_TO_LEAVE)


def _processes_of_ray() -> list[psutil.Process]:
    """Those that this process has started, and they in turn."""
    folder = str(Path(ray.__file__).parent)
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if command.startswith("ray::") or folder in command:
                found.append(process)
    return found


def place_ranks(scale: dict[str, Any], cluster: Cluster) -> list[Any]:
    """Starts an actor a rank, as close together as there is room.

    Raises:
        MiloraError: ``scale/no-room``, once ``waitMinutes`` are over.
    """
    ranks, cpus, gpus = scale["ranks"], scale["cpusPerRank"], gpus_asked(scale["gpusPerRank"])
    need = {"CPU": cpus, **({"GPU": gpus} if gpus > 0 else {})}
    wait = scale["waitMinutes"] * 60
    if wait == 0 and any(ray.cluster_resources().get(name, 0) < ranks * each for name, each in need.items()):
        raise _no_room(ranks, need)
    placed = placement_group([need] * ranks, strategy="PACK")
    if not placed.wait(timeout_seconds=max(_SECONDS_TO_PLACE, wait)):
        error = _no_room(ranks, need)
        remove_placement_group(placed)
        raise error
    environment = {**cluster.environment, **(SHARDED_MALLOC if scale["strategy"] == "shard" else {})}
    return [
        ray.remote(Rank)
        .options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(placed, placement_group_bundle_index=index),
            runtime_env={"env_vars": environment},
        )
        .remote(index, ranks)
        for index in range(ranks)
    ]


def gpus_asked(asked: float | None) -> float:
    """The GPUs of a rank or a run: by default one, where Ray has any."""
    if asked is not None:
        return asked
    return 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0


def _no_room(ranks: int, need: dict[str, float]) -> MiloraError:
    total, free = ray.cluster_resources(), ray.available_resources()
    wanted = " and ".join(f"{ranks * each:g} {name}s" for name, each in need.items())
    has = " and ".join(f"{total.get(name, 0):g} {name}s ({free.get(name, 0):g} free)" for name in need)
    return MiloraError(
        "scale/no-room",
        f"{ranks} ranks need {wanted}; Ray has {has} on {len(ray.nodes())} node(s).",
        path="scale.ranks",
        found=wanted,
        allowed=has,
        hint="Ask for fewer ranks, less for each (scale.cpusPerRank, scale.gpusPerRank), or wait for room with "
        "scale.waitMinutes.",
    )


def _unreachable(address: str, reason: str, path: str) -> MiloraError:
    return MiloraError(
        "scale/unreachable",
        f"There is no Ray at {address}: {reason}.",
        path=path,
        found=address,
        hint=f"Start one with ray start --head, or leave {path} out. A Ray that asks for a token needs "
        "RAY_AUTH_MODE=token here too, and the token of ray get-auth-token.",
    )


def _connect(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise OSError(f"{address} is not host:port")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
