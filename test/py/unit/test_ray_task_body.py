"""What a task of a sweep does on its node: the body alone, without a Ray."""

from __future__ import annotations

import _thread
import importlib.util
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("ray") is None:
    pytest.skip("the Python package ray is missing", allow_module_level=True)

from milora.server.ray_tasks.body import run_task


def program(log: str, *words: str) -> dict[str, Any]:
    return {"command": list(words), "log": log}


def python(log: str, code: str) -> dict[str, Any]:
    return program(log, sys.executable, "-c", code)


def task(folder: Path, *programs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"programs": programs, "directory": str(folder), "folder": str(folder), "environment": {}, **changes}


def ends(events: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    started, ended = events
    assert started["type"] == "started"
    assert ended["type"] == "ended"
    return ended["ends"]


def test_programs_run_in_turn_until_one_fails(tmp_path: Path) -> None:
    told = "import os, sys; print(os.environ['WORD'], os.getcwd()); print('aside', file=sys.stderr)"
    (tmp_path / "a.log").write_text("before\n")
    programs = [python("a.log", told), python("b.log", "raise SystemExit(3)"), python("c.log", "")]
    first, second = ends(run_task(task(tmp_path, *programs, environment={"WORD": "so"})))
    assert first == {"exitCode": 0, "signal": None, "stdout": f"so {tmp_path}\n", "stderr": "aside\n"}
    assert (second["exitCode"], second["signal"]) == (3, None)
    # A log grows over the tries, and has both streams.
    assert (tmp_path / "a.log").read_text() == f"before\naside\nso {tmp_path}\n"
    assert not (tmp_path / "c.log").exists()


def test_a_signal_that_ended_a_program_is_named(tmp_path: Path) -> None:
    (only,) = ends(run_task(task(tmp_path, python("a.log", "import os; os.kill(os.getpid(), 9)"))))
    assert (only["exitCode"], only["signal"]) == (None, "SIGKILL")


@pytest.mark.parametrize("lacks", ["folder", "directory", "program"])
def test_a_node_that_lacks_a_place_is_told(tmp_path: Path, lacks: str) -> None:
    nowhere = str(tmp_path / "nowhere")
    asked = task(tmp_path, program("a.log", nowhere if lacks == "program" else sys.executable))
    if lacks != "program":
        asked[lacks] = nowhere
    (only,) = ends(run_task(asked))
    assert only["exitCode"] == 2
    message = json.loads(only["stdout"])["error"]["message"]
    assert f"has no {nowhere}: every node needs" in message


def test_an_interrupt_is_passed_on_once_and_waited_for(tmp_path: Path) -> None:
    code = """
import pathlib, signal, time
def end(*_):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    time.sleep(0.5)
    print("saved", flush=True)
    raise SystemExit(130)
signal.signal(signal.SIGINT, end)
pathlib.Path("ready").touch()
time.sleep(60)
"""

    def interrupt() -> None:
        while not (tmp_path / "ready").exists():
            pass
        # As Ray does where a task is cancelled; it may do so again.
        for _ in range(2):
            _thread.interrupt_main()
            threading.Event().wait(0.2)

    threading.Thread(target=interrupt, daemon=True).start()
    (only,) = ends(run_task(task(tmp_path, python("a.log", code))))
    assert (only["exitCode"], only["stdout"]) == (130, "saved\n")


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not on the path")
def test_a_program_has_a_channel_of_node(tmp_path: Path) -> None:
    node = shutil.which("node") or ""
    (only,) = ends(run_task(task(tmp_path, program("a.log", node, "-p", "process.connected"))))
    assert only["stdout"] == "true\n"
