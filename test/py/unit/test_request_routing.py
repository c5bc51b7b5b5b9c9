"""What requests may change of the routing, warm starts and frozen experts: the refusals and what must not be lost."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from milora.errors import MiloraError
from milora.server.ops import session

ROWS = [{"prompt": f"Say {word}: ", "answer": word} for word in ("one", "two", "three", "four")]


@pytest.fixture
def plans(run_op, checkpoint, milora_plan, lora_plan, randomize):
    """A tiny model with the adapters ``learned`` (k = 3), ``fixed`` and ``plain``, all moved off their start."""
    run_op("openModel", model=str(checkpoint), device="cpu", dtype="float32")
    base = session.current().opened.model
    made = {
        "plain": lora_plan(base),
        "learned": milora_plan(base, top_k=3),
        "fixed": milora_plan(base, chosen=[["q"], ["v", "down"]]),
    }
    for seed, (name, plan) in enumerate(made.items()):
        run_op("attachAdapter", adapter=name, config=plan)
        with session.current().host.use(name) as active:
            randomize(active.model, name, seed=seed)
    return made


def generate(run_op, *requests, **settings):
    return run_op("generate", requests=list(requests), maxNewTokens=4, explain=True, **settings)["outputs"]


def assert_same(output, alone):
    """All but the last bits of gates, which depend on a batch's width."""
    routing, expected = (each.get("routing") or {"experts": [], "gates": []} for each in (output, alone))
    assert {**output, "routing": None} == {**alone, "routing": None}
    assert routing["experts"] == expected["experts"]
    for gates, wanted in zip(routing["gates"], expected["gates"], strict=True):
        assert gates == pytest.approx(wanted, abs=1e-5)


CHANGES = {"topK": 1, "masked": ["q"], "keepDecisionAs": "mine", "decision": "kept"}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("adapter", [None, "plain", "fixed"])
def test_only_a_learned_policy_can_be_changed(run_op, plans, adapter, change: str):
    generate(run_op, {"prompt": "Hi", "adapter": "learned", "keepDecisionAs": "kept"})
    with pytest.raises(MiloraError) as caught:
        generate(run_op, {"prompt": "Hi", "adapter": adapter, change: CHANGES[change]})
    if change == "decision":
        assert caught.value.code == "adapter/mismatch"
        assert "'kept'" in caught.value.message
    else:
        assert caught.value.code == "adapter/unsupported"
        assert "requests[0]" in caught.value.message
        assert "no routers" in caught.value.message


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([{"topK": 4}], r"requests\[0\].topK is 4; adapter 'learned' was trained with 3"),
        ([{}, {"decision": "kept", "topK": 1}], r"requests\[1\] has a kept decision"),
        ([{"decision": "kept", "masked": ["q"]}], r"requests\[0\] has a kept decision"),
        ([{"keepDecisionAs": "a"}, {"keepDecisionAs": "a"}], r"requests\[1\].keepDecisionAs: 'a' is also"),
    ],
)
def test_what_contradicts_itself_is_refused_before_any_work(run_op, plans, monkeypatch, requests, message: str):
    generate(run_op, {"prompt": "Hi", "adapter": "learned", "keepDecisionAs": "kept"})

    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was generated")

    monkeypatch.setattr(session.current().opened.model, "generate", never)
    with pytest.raises(MiloraError, match=message) as caught:
        generate(run_op, *({"prompt": "Hi", "adapter": "learned", **request} for request in requests))
    assert caught.value.code == "input/invalid-spec"


@pytest.mark.parametrize("beams", [1, 2])
def test_a_mixed_batch_is_each_request_alone(run_op, plans, beams: int):
    first = {"prompt": "What is this? " * 3, "adapter": "learned", "keepDecisionAs": "turn"}
    (kept,) = generate(run_op, first, beams=beams)
    requests = [
        {"prompt": "Hi", "adapter": "learned"},
        {"prompt": "And now something longer", "adapter": "learned", "decision": "turn"},
        {"prompt": "Hi", "adapter": "learned", "topK": 1},
        {"prompt": "Hi", "adapter": "learned", "masked": ["q", "k", "v", "o"]},
        {"prompt": "Hi", "adapter": "plain"},
        {"prompt": "Hi", "adapter": "fixed"},
        {"prompt": "Hi", "adapter": "learned", "decision": "turn", "keepDecisionAs": "again"},
        {"prompt": "Hi"},
    ]
    together = generate(run_op, *requests, beams=beams)
    alone = [generate(run_op, request, beams=beams)[0] for request in requests]
    for one, other in zip(together, alone, strict=True):
        assert_same(one, other)
    assert together[1]["routing"] == together[6]["routing"] == kept["routing"]
    assert [len(layer) for layer in together[2]["routing"]["experts"]] == [1, 1]
    assert together[5]["routing"]["experts"] == [["q"], ["v", "down"]]
    (again,) = generate(run_op, {"prompt": "Other", "adapter": "learned", "decision": "again"}, beams=beams)
    assert again["routing"] == kept["routing"]


def test_a_request_without_changes_is_not_touched_by_its_batch(run_op, plans):
    plain = {"prompt": "Hi", "adapter": "learned"}
    (alone,) = generate(run_op, plain)
    assert_same(generate(run_op, plain, {**plain, "topK": 1}, {**plain, "masked": ["down"]})[0], alone)


def test_a_cancelled_generation_keeps_no_decision(run_op, plans, monkeypatch):
    monkeypatch.setattr(session, "reporter", lambda call, stage: lambda done, total: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate(run_op, {"prompt": "Hi", "adapter": "learned", "keepDecisionAs": "lost"})
    monkeypatch.undo()
    with pytest.raises(MiloraError, match="no decision 'lost'"):
        generate(run_op, {"prompt": "Hi", "adapter": "learned", "decision": "lost"})


@pytest.mark.parametrize("adapter", ["learned", "plain"])
def test_a_warm_start_is_the_saved_adapter_and_trains(run_op, plans, tmp_path, adapter: str):
    folder = str(tmp_path / "saved")
    run_op("saveAdapter", adapter=adapter, folder=folder)
    config = {**plans[adapter], "lora_dropout": 0.1, "base_model_name_or_path": "elsewhere"}
    attached = run_op("attachAdapter", adapter="warm", config=config, seed=9, warmStart=folder)
    rows = [{"prompt": "Say", "choices": [" a", " bb"]}]
    warm, saved = (run_op("scoreChoices", rows=rows, adapter=name)["scores"] for name in ("warm", adapter))
    assert warm == saved
    started = run_op("startTraining", adapter="warm")
    assert started["weights"] + started["activation"] == attached["trainable"] > 0


def change_rank(plan):
    plan["layers"][1]["experts"][2].update(rank=8, alpha=8.0)


def lower_k(plan):
    plan["top_k"] = 2


def drop_a_layer(plan):
    plan["layers"].pop()


def use_dora(plan):
    plan["expert"] = "dora"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_rank, r"layers\[1\].experts\[2\].rank: found 4, planned 8"),
        (lower_k, "top_k: found 3, planned 2"),
        (drop_a_layer, "layers: found 2 entries, planned 1"),
        (use_dora, 'expert: found "lora", planned "dora"'),
    ],
)
def test_a_warm_start_of_another_plan_says_where_it_differs(run_op, plans, tmp_path, change, message: str):
    folder = str(tmp_path / "saved")
    run_op("saveAdapter", adapter="learned", folder=folder)
    other = copy.deepcopy(plans["learned"])
    change(other)
    with pytest.raises(MiloraError, match=message) as caught:
        run_op("attachAdapter", adapter="warm", config=other, warmStart=folder)
    assert caught.value.code == "adapter/mismatch"
    assert "warm" not in session.current().host.names
    with pytest.raises(MiloraError, match="peft_type: found"):
        run_op("attachAdapter", adapter="warm", config=plans["plain"], warmStart=folder)


def test_frozen_experts_stay_frozen_when_another_method_takes_a_turn(run_op, plans, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)))
    run_op("loadRows", name="rows", file=str(file))
    run_op("saveAdapter", adapter="learned", folder=str(tmp_path / "saved"))
    warm = {"adapter": "warm", "config": plans["learned"], "warmStart": str(tmp_path / "saved")}
    attached = run_op("attachAdapter", **warm, trains="router")
    hidden, layers = 32, 2
    assert attached["routerParameters"] == layers * (hidden + 7 * hidden)
    assert attached["activationParameters"] == layers * 12
    assert attached["trainable"] == attached["routerParameters"] + attached["activationParameters"]
    # LoRA and MiLoRA cannot be in one model: ``warm`` is taken out and put back.
    generate(run_op, {"prompt": "Hi", "adapter": "plain"})
    before = session.current().host.tensors("warm")
    started = run_op("startTraining", adapter="warm")
    assert started["weights"] + started["activation"] == attached["trainable"]
    run_op("weightsStep", data="rows", rows=[0, 1, 2, 3], learningRate=0.01)
    run_op("activationStep", data="rows", rows=[0, 1], learningRate=0.01)
    virtual = {"data": "rows", "rows": [2, 3], "learningRate": 0.01}
    run_op("activationStep", data="rows", rows=[0, 1], learningRate=0.01, virtualStep=virtual)
    after = session.current().host.tensors("warm")
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved == {key for key in before if "prompt_router" in key}


def test_routes_of_prompts_need_routes(run_op, plans):
    with pytest.raises(MiloraError, match="'plain' has no routers") as caught:
        run_op("routePrompts", adapter="plain", requests=[{"prompt": "Hi"}])
    assert caught.value.code == "adapter/unsupported"
    with pytest.raises(MiloraError, match="no adapter 'lerned'"):
        run_op("routePrompts", adapter="lerned", requests=[{"prompt": "Hi"}])
    with pytest.raises(MiloraError, match=r"256 tokens: requests\[1\]: the prompt has 301") as long:
        run_op("routePrompts", adapter="learned", requests=[{"prompt": "Hi"}, {"prompt": "a" * 300}])
    assert long.value.code == "input/invalid-spec"
