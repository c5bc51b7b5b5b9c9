"""The operations on a tiny checkpoint, each output held to its schema."""

from __future__ import annotations

import json

import pytest

from milora.errors import MiloraError
from milora.server import handles
from milora.server.call import Call
from milora.server.ops import OPS
from milora.spec import validate_input

ROWS = [{"prompt": f"Say {word}: ", "answer": word} for word in ("one", "two", "three", "four")]


@pytest.fixture
def rows_file(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return str(file)


@pytest.fixture
def plan(run_op, checkpoint, milora_plan):
    """Opens the checkpoint, gives its MiLoRA plan."""
    opened = run_op("openModel", model=str(checkpoint), device="cpu", dtype="float32")
    assert opened["hasChatTemplate"]
    assert opened["reason"]
    from milora.server.ops import session

    return milora_plan(session.current().opened.model)


def test_hello_and_describe(run_op, checkpoint):
    assert run_op("hello")["devices"][-1]["type"] == "cpu"
    described = run_op("describeModel", model=str(checkpoint))
    assert [layer["path"] for layer in described["layers"]] == ["model.layers.0", "model.layers.1"]
    assert described["otherLinears"] == ["lm_head"]


def test_a_training_from_start_to_end(run_op, plan, rows_file, tmp_path):
    loaded = run_op("loadRows", name="train", file=rows_file)
    assert loaded["rows"] == 4
    assert loaded["dropped"] == loaded["truncated"] == []
    attached = run_op("attachAdapter", adapter="tuned", config=plan)
    assert attached["activationParameters"] == 2 * 12
    started = run_op("startTraining", adapter="tuned", microBatch=2, balance=0.01)
    assert started["weights"] + started["activation"] == attached["trainable"]
    before = run_op("dataLoss", data="train", rows=[0, 1, 2, 3], adapter="tuned")
    for _ in range(5):
        assert run_op("weightsStep", data="train", rows=[0, 1, 2, 3], learningRate=0.01) == {}
        run_op("activationStep", data="train", rows=[3], learningRate=1e-4)
    figures = run_op("trainingFigures")["steps"]
    assert [each["kind"] for each in figures] == ["weights", "activation"] * 5
    assert figures[0]["answerTokens"] == sum(loaded["answerTokens"])
    assert figures[0]["tokens"] == sum(loaded["answerTokens"]) + sum(loaded["promptTokens"])
    after = run_op("dataLoss", data="train", rows=[0, 1, 2, 3], adapter="tuned")
    assert after["nll"] < before["nll"]
    assert after["routing"]["experts"] == ["q", "k", "v", "o", "gate", "up", "down"]
    assert run_op("saveTraining", folder=str(tmp_path / "state"))["bytes"] > 0
    assert run_op("loadTraining", folder=str(tmp_path / "state")) == {}
    run_op("stopTraining")
    assert run_op("saveAdapter", adapter="tuned", folder=str(tmp_path / "adapter"))["bytes"] > 0
    again = run_op("loadAdapter", adapter="again", folder=str(tmp_path / "adapter"))
    assert again["parameters"] == attached["trainable"]
    assert again["config"]["peft_type"] == "MILORA_PROMPT"
    assert run_op("dataLoss", data="train", rows=[0, 1, 2, 3], adapter="again")["nll"] == pytest.approx(after["nll"])
    run_op("unloadAdapter", adapter="again")


def test_generation_and_scores(run_op, plan):
    run_op("attachAdapter", adapter="tuned", config=plan)
    requests = [{"prompt": "Hi", "chat": True, "adapter": "tuned"}, {"prompt": "Hi"}]
    routed, base = run_op("generate", requests=requests, maxNewTokens=3, explain=True)["outputs"]
    assert [len(layer) for layer in routed["routing"]["experts"]] == [2, 2]
    assert base["routing"] is None
    assert base["newTokens"] <= 3
    scores = run_op("scoreChoices", rows=[{"prompt": "Hi", "choices": [" a", " b c"]}], adapter="tuned")["scores"]
    assert [score["tokens"] for score in scores[0]] == [1, 4]


def test_rows_of_an_adopted_object(run_op, plan, tmp_path):
    file = str(tmp_path / "out.jsonl")
    adopted = handles.adopt(({**row, "id": index} for index, row in enumerate(ROWS)))
    assert run_op("exportRows", object=adopted, file=file) == {"rows": 4}
    assert run_op("loadRows", name="out", file=file)["rows"] == 4
    with pytest.raises(MiloraError, match="Row 1") as caught:
        run_op("exportRows", object=handles.adopt([{"prompt": "x"}]), file=file)
    assert caught.value.code == "data/bad-row"
    with pytest.raises(MiloraError, match="not an iterable"):
        run_op("exportRows", object=handles.adopt(3), file=file)


def test_what_is_out_of_order_is_refused(run_op, checkpoint):
    run_op("closeModel")
    with pytest.raises(MiloraError, match="openModel first"):
        run_op("loadRows", name="train", file="x.jsonl")
    run_op("openModel", model=str(checkpoint), device="cpu", dtype="float32")
    with pytest.raises(MiloraError, match="startTraining first"):
        run_op("trainingFigures")
    with pytest.raises(MiloraError, match="no rows 'dev'") as caught:
        run_op("dataLoss", data="dev", rows=[0])
    assert caught.value.code == "input/unknown-name"


def test_a_cancelled_call_ends(run_op, plan, rows_file):
    payload = validate_input("loadRows", {"name": "train", "file": rows_file})
    with pytest.raises(MiloraError) as caught:
        OPS["loadRows"](payload, Call(flag=b"\1"))
    assert caught.value.code == "cancelled"


def test_lack_of_memory_has_its_own_code(monkeypatch, run_op, plan):
    def exhaust(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr("milora.server.ops.generation.generate_texts", exhaust)
    with pytest.raises(MiloraError) as caught:
        run_op("generate", requests=[{"prompt": "a"}])
    assert caught.value.code == "memory/exhausted"
