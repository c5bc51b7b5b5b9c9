"""What a Ray has to offer, and whether its nodes have what the driver has."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from milora.errors import MiloraError
from milora.server.ranks.rank import versions
from milora.server.ranks.ray_cluster import Cluster, start_ray
from milora.server.ranks.ray_group import differences, reason

_SECONDS_A_NODE = 60


def inspect_ray(address: str) -> dict[str, Any]:
    """Looks at the Ray at an address; starts and keeps nothing.

    Raises:
        MiloraError: ``scale/unreachable``.
    """
    cluster = start_ray(address)
    try:
        total, free = ray.cluster_resources(), ray.available_resources()
        nodes = [node for node in ray.nodes() if node["Alive"]]
        asked = [_ask(node["NodeID"], cluster) for node in nodes]
        return {
            "version": ray.__version__,
            "address": cluster.address,
            "cpus": {"total": total.get("CPU", 0), "free": free.get("CPU", 0)},
            "gpus": {"total": total.get("GPU", 0), "free": free.get("GPU", 0)},
            "nodes": [
                {"host": node["NodeManagerAddress"], "problems": _problems(reference)}
                for node, reference in zip(nodes, asked, strict=True)
            ],
        }
    finally:
        cluster.leave()


def _ask(node: str, cluster: Cluster) -> Any:
    return (
        ray.remote(versions)
        .options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            runtime_env={"env_vars": cluster.environment},
        )
        .remote()
    )


def _problems(asked: Any) -> list[str]:
    try:
        return differences(ray.get(asked, timeout=_SECONDS_A_NODE))
    except (RayError, MiloraError) as error:
        return [reason(error)]
