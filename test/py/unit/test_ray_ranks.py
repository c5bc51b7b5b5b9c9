"""Operations on ranks that are actors of a real Ray: the numbers of one process, deaths, and requests it cannot serve.

One Ray is started for the file, as people do: by ``ray start``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM

from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ops import OPS
from milora.server.ranks import group
from milora.server.ranks.routes import ROUTES, put_together, shares
from milora.spec.ops import validate_input

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the Python package ray is missing")

ROWS = [{"prompt": "what " + "so " * (index % 5), "answer": " yes" * (1 + index % 4)} for index in range(10)]
STEPS = [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 2], [5, 1, 0, 7, 3]]


def run(name: str, /, **payload: Any) -> dict[str, Any]:
    return OPS[name](validate_input(name, payload), Call())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start_head(folder: str, port: int) -> subprocess.Popen[str] | None:
    """A Ray of four CPUs; None where it did not come up in its time."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=4"]
    options = ["--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}"]
    less = ["--object-store-memory=100000000", "--include-dashboard=false", "--disable-usage-stats"]
    lean = {"RAY_enable_metrics_collection": "0", "RAY_prestart_worker_first_driver": "0"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started: dict[str, Any] = {"start_new_session": True, "env": {**os.environ, **lean}}
    process = subprocess.Popen([*command, *options, *less], **pipes, **started)
    assert process.stdout is not None
    for line in process.stdout:
        if "Ray runtime started" in line:
            return process
    process.wait()
    return None


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """That of a Ray; a machine that is busy may need more than one try."""
    patch = pytest.MonkeyPatch()
    # A token of this machine's user would be asked for.
    patch.setenv("RAY_AUTH_MODE", "disabled")
    # Short: Ray's sockets are in it.
    folder = tempfile.mkdtemp(prefix="ray-")
    head, port = None, 0
    for _ in range(3):
        port = _free_port()
        if (head := _start_head(folder, port)) is not None:
            break
    if head is None:
        pytest.skip("Ray's own head did not come up on this machine in three tries of 30 seconds")
    try:
        yield f"127.0.0.1:{port}"
    finally:
        group.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGTERM)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)
        patch.undo()


@pytest.fixture
def begin(checkpoint: Path, milora_plan: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Opens the model and begins a training, on ranks or in this process."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(map(json.dumps, ROWS)))
    config = milora_plan(LlamaForCausalLM.from_pretrained(checkpoint))

    def make(scale: dict[str, Any] | None = None) -> None:
        run("openModel", model=str(checkpoint), device="cpu", dtype="float32", scale=scale)
        OPS["loadRows"](validate_input("loadRows", {"name": "train", "file": str(rows)}), Call())
        run("attachAdapter", adapter="tuned", config=config)
        run("startTraining", adapter="tuned", balance=0.1)

    yield make
    run("closeModel")


def train(steps: list[list[int]]) -> None:
    for rows in steps:
        run("weightsStep", data="train", rows=rows, learningRate=1e-3)
        run("activationStep", data="train", rows=rows, learningRate=1e-4)


def rank_processes() -> list[int]:
    import ray

    actors: Any = group._group
    return [one["pid"] for one in ray.get([actor.about.remote() for actor in actors._actors])]


def living(processes: list[int]) -> list[int]:
    def lives(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    return list(filter(lives, processes))


def test_every_operation_has_a_route() -> None:
    assert set(ROUTES) == set(OPS)


def test_dealt_requests_come_back_in_their_order() -> None:
    payload = {"requests": [{"prompt": str(index)} for index in range(7)]}
    parts = shares("generate", payload, 3)
    answers = [{"outputs": [one["prompt"] for one in part["requests"]]} for part in parts]
    assert put_together("generate", answers, 7) == {"outputs": list("0123456")}
    assert shares("generate", {"requests": [{"decision": "kept"}, {}]}, 2) == [
        {"requests": [{"decision": "kept"}, {}]}
    ]


def data_loss(adapter: str) -> dict[str, Any]:
    """Of the rows, a token's mean as in a step's figures: float32 has no more than four decimals of 1,000 nats."""
    found = run("dataLoss", data="train", rows=list(range(10)), adapter=adapter)
    return {**found, "nll": found["nll"] / found["answerTokens"]}


def results(state: Path) -> dict[str, Any]:
    train(STEPS)
    run("saveTraining", folder=str(state))
    asked = [{"adapter": name, "prompt": prompt} for name, prompt in [("tuned", "hi"), (None, "you"), ("tuned", "so")]]
    rows = [{"prompt": "so", "choices": [" yes", " no"]}, {"prompt": "hi", "choices": [" a"]}]
    return {
        "figures": run("trainingFigures"),
        "data": data_loss("tuned"),
        "texts": run("generate", requests=asked, maxNewTokens=4),
        "scores": run("scoreChoices", rows=rows, adapter="tuned"),
    }


def close(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return set(found) == set(expected) and all(close(found[key], value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == pytest.approx(expected, rel=0, abs=2e-5) if isinstance(expected, float) else found == expected


def kill_later(process: int, killed: list[float]) -> None:
    def kill() -> None:
        os.kill(process, signal.SIGKILL)
        killed.append(time.monotonic())

    threading.Timer(0.5, kill).start()


@needs_ray
def test_two_ranks_give_what_one_process_gives_until_one_is_killed(
    begin: Callable[..., None], address: str, tmp_path: Path
) -> None:
    begin()
    expected = results(tmp_path / "alone")
    begin({"ranks": 2, "address": address})
    found = results(tmp_path / "ranks")
    for part, value in expected.items():
        assert close(found[part], value), part
    processes = rank_processes()
    killed: list[float] = []
    kill_later(processes[1], killed)
    with pytest.raises(MiloraError) as caught:
        while True:
            train(STEPS)
    assert time.monotonic() - killed[0] < 5
    assert caught.value.code == "scale/lost"
    assert "Rank 1 of 2 on node" in str(caught.value)
    end = time.monotonic() + 5
    while living(processes) and time.monotonic() < end:
        time.sleep(0.05)
    assert living(processes) == []
    # It stays an error, until the model is opened anew; what two ranks saved goes on in one process.
    with pytest.raises(MiloraError, match="Rank 1 of 2"):
        run("trainingFigures")
    begin()
    run("loadTraining", folder=str(tmp_path / "ranks"))
    train(STEPS[:1])


@needs_ray
def test_ranks_that_share_a_base_do_what_one_process_does(
    begin: Callable[..., None], address: str, tmp_path: Path
) -> None:
    asked = [{"adapter": "tuned", "prompt": "hi"}, {"adapter": "tuned", "prompt": "so what"}]
    begin()
    expected = results(tmp_path / "alone")
    routing = run("routePrompts", requests=asked, adapter="tuned", explain=2)
    begin({"ranks": 2, "address": address, "strategy": "shard"})
    found = results(tmp_path / "shared")
    for part, value in expected.items():
        assert close(found[part], value), part
    assert close(run("routePrompts", requests=asked, adapter="tuned", explain=2), routing)
    # A call that is cancelled ends on all ranks at the same place, and they go on.
    flag = bytearray(1)
    many = validate_input("generate", {"requests": asked, "maxNewTokens": 200})
    with pytest.raises(MiloraError) as caught:
        OPS["generate"](many, Call(lambda _event: flag.__setitem__(0, 1), flag))
    assert caught.value.code == "cancelled"
    assert close(data_loss("tuned"), expected["data"])
    # What was trained on parts is an adapter like any other.
    run("saveAdapter", adapter="tuned", folder=str(tmp_path / "adapter"))
    run("loadAdapter", adapter="again", folder=str(tmp_path / "adapter"))
    assert close(data_loss("again"), expected["data"])
    with pytest.raises(MiloraError, match="engineOpen needs the whole base") as caught:
        run("engineOpen")
    assert caught.value.details["path"] == "scale.strategy"


@needs_ray
def test_ranks_that_share_a_base_end_where_one_fails_alone(
    begin: Callable[..., None], address: str, tmp_path: Path
) -> None:
    begin({"ranks": 2, "address": address, "strategy": "shard"})
    processes = rank_processes()
    broken: Any = group._group
    import ray

    # One rank makes a pass that the other doesn't: nobody can finish it.
    spoil = validate_input("dataLoss", {"data": "gone", "rows": [0], "adapter": "tuned"})
    whole = validate_input("dataLoss", {"data": "train", "rows": [0], "adapter": "tuned"})
    first, second = broken._actors
    with pytest.raises(MiloraError, match=r"gone.*rank 1 of 2"):
        broken._ask([first.run.remote("dataLoss", whole, 99), second.run.remote("dataLoss", spoil, 99)], Call())
    assert not ray.is_initialized() or living(processes) == []
    with pytest.raises(MiloraError, match="gone"):
        run("closeModel")


@needs_ray
def test_what_ray_cannot_give_is_said(checkpoint: Path, address: str, tmp_path: Path) -> None:
    def opening(scale: dict[str, Any], model: Path = checkpoint) -> MiloraError:
        with pytest.raises(MiloraError) as caught:
            run("openModel", model=str(model), device="cpu", scale=scale)
        return caught.value

    error = opening({"ranks": 64, "address": address})
    assert error.code == "scale/no-room"
    assert "64 ranks need 64 CPUs; Ray has 4 CPUs (4 free) on 1 node(s)" in str(error)
    error = opening({"ranks": 2, "address": f"127.0.0.1:{_free_port()}"})
    assert (error.code, error.details["path"]) == ("scale/unreachable", "scale.address")
    assert opening({"ranks": 2, "address": "ray://there:10001"}).code == "input/invalid-spec"
    error = opening({"ranks": 1, "address": address}, tmp_path / "not-there")
    assert "rank 0 of 1 on node" in str(error)
    run("closeModel")


@needs_ray
def test_nodes_with_other_versions_are_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milora.server.ranks.ray_group.versions", lambda: {"torch": "1.0"})
    found = run("inspectRay", address=address)
    # Ray tells what a test before gave back with a delay.
    end = time.monotonic() + 30
    while found["cpus"]["free"] < 4 and time.monotonic() < end:
        time.sleep(0.5)
        found = run("inspectRay", address=address)
    assert found["address"].endswith(address.removeprefix("127.0.0.1"))
    assert found["cpus"] == {"total": 4, "free": 4}
    assert ["the driver 1.0" in problem for node in found["nodes"] for problem in node["problems"]] == [True]


def turns(wanted: int, **asked: Any) -> dict[str, dict[str, Any]]:
    """The last news of each task, once so many have ended."""
    news: dict[str, dict[str, Any]] = {}
    end = time.monotonic() + 120
    while sum(event["type"] != "started" for event in news.values()) < wanted:
        assert time.monotonic() < end, news
        for event in run("rayTasksTurn", **asked, seconds=5.0)["events"]:
            news[event["id"]] = event
        asked = {}
    return news


@needs_ray
def test_programs_run_as_tasks_with_their_resources(address: str, tmp_path: Path) -> None:
    def task(name: str, code: str) -> dict[str, Any]:
        command = [sys.executable, "-c", code]
        return {
            "id": name,
            "programs": [{"command": command, "log": f"{name}.log"}],
            "directory": str(tmp_path),
            "folder": str(tmp_path),
        }

    opened = run("rayTasksOpen", address=address, cpusPerRun=4)
    assert (opened["nodes"], opened["cpusPerRun"], opened["gpusPerRun"]) == (1, 4, 0)
    threads = "import os; print(os.environ['OMP_NUM_THREADS'])"
    # The second kills the process that Ray runs it in; no task waits for CPUs that another has for ever.
    crash = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    news = turns(3, start=[task("one", threads), task("two", crash), task("three", "")])
    assert news["one"]["ends"][0]["exitCode"] == 0
    assert news["two"]["type"] == "lost"
    assert news["three"]["ends"][0]["exitCode"] == 0
    # Of these one runs, which ends where it is stopped, and the others wait in Ray's queue.
    names = ["four", "five", "six"]
    events = run("rayTasksTurn", start=[task(name, "import time; time.sleep(100)") for name in names])["events"]
    end = time.monotonic() + 60
    while not events:
        assert time.monotonic() < end
        events = run("rayTasksTurn", seconds=5.0)["events"]
    assert [event["type"] for event in events] == ["started"], events
    begun = time.monotonic()
    assert {event["type"] for event in turns(3, stop=names).values()} == {"ended"}
    assert time.monotonic() - begun < 60
    run("rayTasksClose")


@needs_ray
def test_what_a_ray_cannot_give_a_run_is_said(address: str) -> None:
    def opening(**payload: Any) -> MiloraError:
        with pytest.raises(MiloraError) as caught:
            run("rayTasksOpen", **payload)
        return caught.value

    error = opening(address=address, cpusPerRun=64)
    assert error.code == "scale/no-room"
    assert "A run needs 64 CPUs, and no node of Ray has that: " in str(error)
    assert "has 4 CPUs and 0 GPUs." in str(error)
    error = opening(address=f"127.0.0.1:{_free_port()}")
    assert (error.code, error.details["path"]) == ("scale/unreachable", "ray.address")


def test_without_ray_the_package_is_named(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "milora.server.ranks.ray_group", raising=False)
    monkeypatch.delitem(sys.modules, "milora.server.ranks.ray_cluster", raising=False)
    with pytest.raises(MiloraError) as caught:
        run("openModel", model=str(checkpoint), device="cpu", scale={"ranks": 2})
    assert caught.value.code == "environment/missing-package"
    monkeypatch.delitem(sys.modules, "milora.server.ray_tasks.queue", raising=False)
    with pytest.raises(MiloraError) as caught:
        run("rayTasksOpen")
    assert (caught.value.code, caught.value.details["path"]) == ("environment/missing-package", "ray")
