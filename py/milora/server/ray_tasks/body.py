"""What a task does on its node; imports neither torch nor the rest of milora, whose own Python the program starts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import ray.util

_SECONDS_BETWEEN_LOOKS = 0.05
_STDERR_CHARACTERS = 20_000
_WRONG_INPUT = 2


def run_task(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Runs the programs of a task in turn, as long as each ends with 0: tells that it has begun, then how they ended.

    Args:
        task: ``programs``, ``directory``, ``folder``, ``environment`` of the operation ``rayTasksTurn``.
    """
    host = ray.util.get_node_ip_address()
    yield {"type": "started", "host": host}
    ends: list[dict[str, Any]] = []
    problem = _problem(task, host)
    if problem is not None:
        ends.append(_refusal(problem))
    else:
        for program in task["programs"]:
            ends.append(_run(program, task))
            if ends[-1]["exitCode"] != 0:
                break
    yield {"type": "ended", "ends": ends}


def _problem(task: dict[str, Any], host: str) -> str | None:
    """What keeps this node from running the task."""
    places = [task["directory"], task["folder"], task["programs"][0]["command"][0]]
    missing = [place for place in places if not Path(place).exists()]
    if not missing:
        return None
    return (
        f"Node {host} has no {' and no '.join(missing)}: every node needs the sweep's folder on storage that all "
        "share, the directory that the sweep was started in, and Node.js and milora at the same paths."
    )


def _refusal(message: str) -> dict[str, Any]:
    told = json.dumps({"error": {"message": message}})
    return {"exitCode": _WRONG_INPUT, "signal": None, "stdout": told, "stderr": message}


def _run(program: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    log = Path(task["folder"]) / program["log"]
    with tempfile.TemporaryFile() as stdout, log.open("ab") as stderr:
        before = stderr.tell()
        with _started(program["command"], task, stdout, stderr) as process:
            code = _wait(process)
        stdout.seek(0)
        said = stdout.read()
        told = log.read_bytes()[before:]
        stderr.write(said)
    return {
        "exitCode": code if code >= 0 else None,
        "signal": None if code >= 0 else signal.Signals(-code).name,
        "stdout": said.decode(errors="replace"),
        "stderr": told.decode(errors="replace")[-_STDERR_CHARACTERS:],
    }


@contextlib.contextmanager
def _started(
    command: list[str], task: dict[str, Any], stdout: IO[bytes], stderr: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, which has a channel of Node.js to this process and ends once that closes, also by a kill -9."""
    ours, theirs = socket.socketpair()
    channel = str(theirs.fileno())
    with ours, _interruptible():
        with theirs:
            process = subprocess.Popen(
                command,
                cwd=task["directory"],
                env={**os.environ, **task["environment"], "NODE_CHANNEL_FD": channel},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ray's workers block SIGINT, and what they start would too."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The exit code; Ray's wish to cancel, an interrupt of this thread, is passed on once."""
    asked = False
    while True:
        try:
            while process.poll() is None:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            return process.returncode
        except KeyboardInterrupt:
            if not asked:
                asked = True
                process.send_signal(signal.SIGINT)
