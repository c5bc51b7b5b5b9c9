"""The engine's operations on a tiny checkpoint."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from milora.errors import MiloraError
from milora.server.ops import session


@pytest.fixture
def folder(run_op, checkpoint, milora_plan, randomize, tmp_path):
    """An open model with an open engine; gives the folder of an adapter."""
    run_op("openModel", model=str(checkpoint), device="cpu", dtype="float32")
    current = session.current()
    run_op("attachAdapter", adapter="tuned", config=milora_plan(current.opened.model, top_k=3))
    with current.host.use("tuned") as active:
        randomize(active.model, "tuned", seed=1)
    run_op("saveAdapter", adapter="tuned", folder=str(tmp_path / "adapter"))
    assert run_op("engineOpen") == {"slowBecause": None}
    return str(tmp_path / "adapter")


def _drain(run_op, **first):
    engine = session.current().engine
    assert engine is not None
    ends, texts = {}, {}
    for turn in range(100):
        output = run_op("engineStep", maxSteps=3, **(first if turn == 0 else {}))
        for event in output["events"]:
            texts[event["request"]] = texts.get(event["request"], "") + event["text"]
            if event["end"] is not None:
                ends[event["request"]] = event["end"]
        if engine.is_idle:
            return ends, texts
    raise AssertionError("the engine does not come to an end")


def test_texts_are_those_of_generate_and_stream_in_pieces(run_op, folder):
    run_op("engineLoad", adapter="legal", folder=folder)
    asked = [{"prompt": "Hi", "chat": True}, {"prompt": "What is this?"}, {"prompt": "a b"}]
    adapters = ["legal", None, "legal"]
    expected = run_op(
        "generate",
        requests=[
            {**ask, "adapter": None if name is None else "tuned"} for ask, name in zip(asked, adapters, strict=True)
        ],
        maxNewTokens=9,
    )["outputs"]
    numbers = [
        run_op("engineSubmit", adapter=name, maxNewTokens=9, **ask)["request"]
        for ask, name in zip(asked, adapters, strict=True)
    ]
    ends, texts = _drain(run_op)
    for number, output in zip(numbers, expected, strict=True):
        assert ends[number]["text"] == texts[number] == output["text"]
        assert ends[number]["finish"] == output["finish"]
        assert ends[number]["newTokens"] == output["newTokens"]


def test_aborted_requests_end_in_the_next_call(run_op, folder):
    run_op("engineLoad", adapter="legal", folder=folder)
    number = run_op("engineSubmit", adapter="legal", prompt="Hi", maxNewTokens=50)["request"]
    run_op("engineStep", maxSteps=1)
    ends, _ = _drain(run_op, abort=[number])
    assert ends[number]["finish"] in ("aborted", "stop")


def test_the_error_of_one_text_says_what_to_do(run_op, folder, tmp_path):
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    poisoned = {key: torch.full_like(tensor, float("nan")) for key, tensor in load_file(weights).items()}
    save_file(poisoned, weights)
    run_op("engineLoad", adapter="poisoned", folder=folder)
    sick = run_op("engineSubmit", adapter="poisoned", prompt="Hi", maxNewTokens=3)["request"]
    base = run_op("engineSubmit", prompt="Hi", maxNewTokens=3)["request"]
    ends, _ = _drain(run_op)
    error = ends[sick]["error"]
    assert error["code"] == "training/non-finite"
    assert error["details"] == {"found": "poisoned", "hint": "Try dtype float32, or another adapter."}
    assert ends[base]["error"] is None


def test_what_is_not_there_is_told(run_op, folder):
    with pytest.raises(MiloraError, match="open already"):
        run_op("engineOpen")
    with pytest.raises(MiloraError) as caught:
        run_op("engineSubmit", adapter="legal", prompt="Hi")
    assert caught.value.code == "adapter/not-found"
    with pytest.raises(MiloraError) as caught:
        run_op("engineSubmit", prompt="Hi", maxNewTokens=500)
    assert caught.value.code == "input/invalid-spec"
    run_op("engineLoad", adapter="legal", folder=folder)
    run_op("engineUnload", adapter="legal")
    with pytest.raises(MiloraError) as caught:
        run_op("engineUnload", adapter="legal")
    assert caught.value.code == "adapter/not-found"
    run_op("engineClose")
    run_op("engineClose")
    with pytest.raises(MiloraError, match="No engine is open"):
        run_op("engineStep")
