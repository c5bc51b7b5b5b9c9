"""One rank: a process with the operations of a single one, joined with the others by ``torch.distributed``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed

from milora.server import envelope
from milora.server.call import Call
from milora.server.ops import OPS, session
from milora.server.ranks.errors import Link
from milora.server.ranks.meeting import Meeting
from milora.server.ranks.routes import IN_LOCKSTEP
from milora.training.ranks import JoinedRanks, Ranks

PACKAGE = Path(__file__).parents[2]
"""The folder of milora."""

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_JOIN = 120

Answer = tuple[dict[str, Any] | None, list[Link]]
"""A result, or an exception's description."""


def versions() -> dict[str, str]:
    """What must be the same on every node."""
    packages = {name: version(name) for name in ("torch", "transformers", "peft")}
    return {"python": platform.python_version(), **packages, "milora's code": _code()}


def _code() -> str:
    """A checksum: a node may have its own installation of milora."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(file.relative_to(PACKAGE).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:12]


class _AgreedFlag:
    """A flag that ranks in lockstep ask equally often: one that left a call alone would keep the others waiting."""

    def __init__(self, own: bytearray, ranks: Ranks) -> None:
        self._own = own
        self._ranks = ranks

    def __getitem__(self, index: int) -> int:
        asked = torch.tensor([self._own[index]], dtype=torch.int32)
        self._ranks.add_up([asked])
        return int(asked)


class Rank:
    """The class of Ray's actors; Ray calls its methods one at a time, on the process's main thread."""

    def __init__(self, index: int, count: int) -> None:
        self._index = index
        self._count = count
        self._flag = bytearray(1)
        self._number = 0
        self._meeting: Meeting | None = None

    def about(self) -> dict[str, Any]:
        """Where the rank is, and what it computes with."""
        from ray.util import get_node_ip_address

        return {"pid": os.getpid(), "node": get_node_ip_address(), "versions": versions()}

    def join(self, host: str, port: int, lockstep: bool) -> None:
        """Meets the others, and from then on ends with the driver; ``lockstep``: each holds a part of the base."""
        self._meeting = meeting = Meeting.joined(host, port, _SECONDS_TO_JOIN)
        threading.Thread(target=self._watch, args=(meeting.again(),), daemon=True, name="milora-driver").start()
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, store=meeting.of_group(), rank=self._index, world_size=self._count)
        session.join(JoinedRanks(lockstep=lockstep))

    def run(self, name: str, payload: dict[str, Any], number: int) -> Answer:
        """Runs an operation whose input is checked; never raises."""
        self._flag[0], self._number = 0, number
        try:
            together = session.ranks().lockstep and name in IN_LOCKSTEP
            flag = _AgreedFlag(self._flag, session.ranks()) if together else self._flag
            return OPS[name](payload, Call(self._emit, flag)), []
        except Exception as error:  # noqa: BLE001 - the driver tells it
            return None, json.loads(envelope.of_error(error))["e"]

    def _emit(self, event: dict[str, Any]) -> None:
        # What every rank does is told once.
        if self._index == 0 and self._meeting is not None:
            self._meeting.tell(event)

    def _watch(self, meeting: Meeting) -> None:
        """Looks which call the driver wants ended; without a driver this process has nothing to do."""
        with contextlib.suppress(Exception):
            while True:
                self._flag[0] = meeting.cancelled() == self._number
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)
