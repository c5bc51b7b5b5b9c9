"""Rows of the hub: what each fault becomes, what is written, an offline cache. The bridge's side: test/contract."""

from __future__ import annotations

import datetime
import errno
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2 as httpx
import pytest
from huggingface_hub import errors

from milora.data import hub
from milora.data.hub_errors import HubFailures
from milora.errors import CancelledError, MiloraError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="the Python package datasets (the extra hub) is missing"
)

PLACE = hub.HubSplit("tiny/pairs", None, "train", "main")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parents[3]


def ignore(_stage: str, _done: int, _total: int) -> None:
    return None


def failures() -> HubFailures:
    return HubFailures("tiny/pairs", lambda: None)


def test_without_datasets_the_error_says_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MiloraError) as caught:
        hub.fetch_rows(PLACE, ["ask"], tmp_path / "rows.jsonl", ignore)
    assert caught.value.code == "environment/missing-package"
    assert f'{sys.executable} -m pip install "{hub.DATASETS_REQUIREMENT}"' in str(caught.value.details["hint"])
    pyproject = tomllib.loads((ROOT / "py" / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["optional-dependencies"]["hub"] == [hub.DATASETS_REQUIREMENT]


def response(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "http://hub.test"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.GatedRepoError("gated", response=response(403)), "data/not-found"),
        (errors.RepositoryNotFoundError("none", response=response(401)), "data/not-found"),
        (errors.RevisionNotFoundError("none", response=response(404)), "input/unknown-name"),
        (errors.HFValidationError("bad"), "input/invalid-spec"),
        (errors.HfHubHTTPError("busy", response=response(503)), "data/unreachable"),
        (errors.HfHubHTTPError("slow down", response=response(429)), "data/unreachable"),
        (errors.OfflineModeIsEnabled("offline"), "data/unreachable"),
        (ConnectionError("refused"), "data/unreachable"),
        (OSError(errno.ENOSPC, "No space left on device"), "run/disk"),
        (RuntimeError("Dataset scripts are no longer supported"), "data/unreadable"),
    ],
)
def test_each_cause_has_its_code(error: Exception, code: str) -> None:
    with pytest.raises(MiloraError) as caught, failures().asking("main"):
        raise error
    assert caught.value.code == code
    assert caught.value.__cause__ is error


def test_a_cause_is_found_below_what_datasets_raises() -> None:
    with pytest.raises(MiloraError) as caught, failures().reading():
        try:
            raise httpx.ConnectError("no route")
        except httpx.ConnectError as error:
            raise ValueError("An error occurred while generating the dataset") from error
    assert caught.value.code == "data/unreachable"


def test_a_cancelled_call_stays_cancelled_where_datasets_swallows_it() -> None:
    def cancelled() -> None:
        raise CancelledError

    with pytest.raises(CancelledError), HubFailures("tiny/pairs", cancelled).reading():
        raise RuntimeError("An error occurred while generating the dataset")
    with pytest.raises(CancelledError), failures().reading():
        raise CancelledError


def test_an_unknown_config_is_told_with_those_that_there_are() -> None:
    with pytest.raises(MiloraError) as caught, failures().configuring("nope", lambda: ["main", "other"]):
        raise ValueError("BuilderConfig 'nope' not found.")
    assert caught.value.details["allowed"] == "main, other"

    def unlisted() -> list[str]:
        raise ConnectionError

    with pytest.raises(MiloraError) as caught, failures().configuring("nope", unlisted):
        raise ValueError("BuilderConfig 'nope' not found.")
    assert caught.value.code == "data/unreadable"


def test_rows_are_written_as_they_are_and_progress_is_told(tmp_path: Path) -> None:
    datasets: Any = importlib.import_module("datasets")
    rows = [{"text": "Zürich\n“x”", "numbers": [index, 2], "nested": {"a": None}} for index in range(600)]
    told: list[tuple[str, int, int]] = []
    file = tmp_path / "rows.jsonl"
    hub._write(datasets.Dataset.from_list(rows), PLACE, file, lambda *step: told.append(step))
    assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == rows
    assert [done for _, done, _ in told] == [0, 256, 512, 600]


@pytest.mark.parametrize("value", [datetime.datetime(2026, 1, 1), b"bytes", float("nan")])
def test_a_value_that_is_no_json_is_told_with_its_item(tmp_path: Path, value: object) -> None:
    datasets: Any = importlib.import_module("datasets")
    rows = datasets.Dataset.from_list([{"text": value}])
    with pytest.raises(MiloraError) as caught:
        hub._write(rows, PLACE, tmp_path / "rows.jsonl", ignore)
    assert caught.value.code == "data/bad-row"
    assert "Item 0 of tiny/pairs (train)" in caught.value.message


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    spec = importlib.util.spec_from_file_location("fake_hub", ROOT / "test" / "fixtures" / "python" / "fake_hub.py")
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.start({"tiny/pairs": {"commit": COMMIT, "files": {"train.jsonl": '{"ask": "2 + 2?"}\n'}}})
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


_program = """
import json, sys
from pathlib import Path
from milora.data.hub import HubSplit, fetch_rows
from milora.errors import MiloraError
for revision in sys.argv[2:]:
    try:
        place = HubSplit("tiny/pairs", None, "train", revision)
        fetched = fetch_rows(place, ["ask"], Path(sys.argv[1]), lambda *_: None)
        print(json.dumps([fetched.rows, fetched.commit]))
    except MiloraError as error:
        print(json.dumps([error.code, error.details.get("found")]))
"""


def fetched(folder: Path, revisions: list[str], **variables: str) -> list[Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "py"), "HF_HOME": str(folder / "hf"), **variables}
    command = [sys.executable, "-c", _program, str(folder / "rows.jsonl"), *revisions]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_offline_mode_uses_the_cache_of_datasets_and_only_the_commit_that_was_asked_for(
    endpoint: str, tmp_path: Path
) -> None:
    assert fetched(tmp_path, ["main"], HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0") == [[1, COMMIT]]
    other = COMMIT[::-1]
    offline = fetched(tmp_path, ["main", COMMIT, other], HF_DATASETS_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert offline == [[1, COMMIT], [1, COMMIT], ["data/unreachable", COMMIT]]
    assert fetched(tmp_path / "new", ["main"], HF_HUB_OFFLINE="1")[0][0] == "data/unreachable"
