"""What requests of the engine change, keep and tell of their routing: the same as in ``generate``."""

from __future__ import annotations

import pytest

from milora.engine.fused import Engine
from milora.errors import MiloraError
from milora.server.ops import session

NEW_TOKENS = 5


@pytest.fixture
def opened(run_op, checkpoint, milora_plan, lora_plan, randomize, tmp_path):
    """An engine that has the session's adapters ``tuned`` (k = 3), ``fixed`` and ``plain`` under the same names."""
    run_op("openModel", model=str(checkpoint), device="cpu", dtype="float32")
    current = session.current()
    base = current.opened.model
    plans = {
        "tuned": milora_plan(base, top_k=3),
        "fixed": milora_plan(base, chosen=[["q"], ["v", "down"]]),
        "plain": lora_plan(base),
    }
    for seed, (name, plan) in enumerate(plans.items()):
        run_op("attachAdapter", adapter=name, config=plan)
        with current.host.use(name) as active:
            randomize(active.model, name, seed=seed)
        run_op("saveAdapter", adapter=name, folder=str(tmp_path / name))
    run_op("engineOpen")
    for name in plans:
        run_op("engineLoad", adapter=name, folder=str(tmp_path / name))
    return current


def engine() -> Engine:
    found = session.current().engine
    assert found is not None
    return found


def submit(run_op, request):
    return run_op("engineSubmit", maxNewTokens=NEW_TOKENS, explain=True, **request)["request"]


def drain(run_op, **first):
    ends = {}
    for turn in range(100):
        for event in run_op("engineStep", maxSteps=2, **(first if turn == 0 else {}))["events"]:
            if event["end"] is not None:
                ends[event["request"]] = event["end"]
        if engine().is_idle:
            return ends
    raise AssertionError("the engine does not come to an end")


def answer(run_op, *requests):
    numbers = [submit(run_op, request) for request in requests]
    ends = drain(run_op)
    return [ends[number] for number in numbers]


def assert_as_generate(run_op, requests):
    expected = run_op("generate", requests=requests, maxNewTokens=NEW_TOKENS, explain=True)["outputs"]
    ends = answer(run_op, *requests)
    for end, output in zip(ends, expected, strict=True):
        assert (end["text"], end["newTokens"], end["finish"]) == (
            output["text"],
            output["newTokens"],
            output["finish"],
        )
        routing, wanted = end["routing"], output["routing"]
        assert (routing is None) == (wanted is None)
        if routing is not None:
            assert routing["experts"] == wanted["experts"]
            for gates, wanted_gates in zip(routing["gates"], wanted["gates"], strict=True):
                assert gates == pytest.approx(wanted_gates, abs=1e-5)
    return ends


def test_a_mixed_batch_is_routed_as_in_generate(run_op, opened):
    tuned = {"prompt": "What is this?", "adapter": "tuned"}
    ends = assert_as_generate(
        run_op,
        [
            tuned,
            {**tuned, "topK": 1},
            {**tuned, "masked": ["q", "k", "v", "o"]},
            {"messages": [{"role": "user", "content": "Hi"}], "adapter": "fixed"},
            {"prompt": "Hi", "chat": True, "adapter": "plain"},
            {"prompt": "Hi"},
        ],
    )
    assert [len(layer) for layer in ends[1]["routing"]["experts"]] == [1, 1]
    assert set(ends[2]["routing"]["experts"][0]) == {"gate", "up", "down"}
    assert ends[3]["routing"]["experts"] == [["q"], ["v", "down"]]


def test_a_decision_of_the_engine_serves_generate_and_back(run_op, opened):
    (first,) = answer(run_op, {"prompt": "One", "adapter": "tuned", "keepDecisionAs": "turn"})
    (next_one,) = assert_as_generate(run_op, [{"prompt": "Two, longer", "adapter": "tuned", "decision": "turn"}])
    assert next_one["routing"] == first["routing"]
    run_op("generate", requests=[{"prompt": "Three", "adapter": "tuned", "keepDecisionAs": "other"}], maxNewTokens=1)
    assert_as_generate(run_op, [{"prompt": "Four", "adapter": "tuned", "decision": "other"}])


@pytest.mark.parametrize("ends_early", ["abort", "load", "unload", "fail"])
def test_no_decision_is_kept_of_what_is_gone(run_op, opened, tmp_path, monkeypatch, ends_early: str):
    number = submit(run_op, {"prompt": "One", "adapter": "tuned", "keepDecisionAs": "lost"})
    run_op("engineStep", maxSteps=1)
    if ends_early == "abort":
        assert drain(run_op, abort=[number])[number]["finish"] == "aborted"
    elif ends_early == "fail":
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(engine(), "step", lambda steps: 1 / 0)
            run_op("engineStep", maxSteps=1)
        engine().abort(number)
    elif ends_early == "load":
        run_op("engineLoad", adapter="tuned", folder=str(tmp_path / "tuned"))
    else:
        run_op("engineUnload", adapter="tuned")
    drain(run_op)
    with pytest.raises(MiloraError, match="no decision 'lost'"):
        submit(run_op, {"prompt": "Two", "adapter": "tuned", "decision": "lost"})


def test_decisions_end_with_an_adapter_that_only_the_engine_had(run_op, opened, tmp_path):
    run_op("engineLoad", adapter="own", folder=str(tmp_path / "tuned"))
    for name in ("own", "tuned"):
        answer(run_op, {"prompt": "One", "adapter": name, "keepDecisionAs": f"of {name}"})
    run_op("engineClose")
    request = {"prompt": "Two", "adapter": "tuned"}
    run_op("generate", requests=[{**request, "decision": "of tuned"}], maxNewTokens=1)
    with pytest.raises(MiloraError, match="no decision 'of own'"):
        run_op("generate", requests=[{**request, "decision": "of own"}], maxNewTokens=1)


@pytest.mark.parametrize(
    ("request_fields", "code", "text"),
    [
        ({"keepDecisionAs": "mine"}, "adapter/unsupported", "the base model has no routers"),
        ({"adapter": "plain", "topK": 1}, "adapter/unsupported", "no routers"),
        ({"adapter": "fixed", "masked": ["q"]}, "adapter/unsupported", "a fixed policy"),
        ({"adapter": "tuned", "topK": 4}, "input/invalid-spec", "request.topK is 4"),
        ({"adapter": "tuned", "masked": ["head"]}, "input/unknown-name", "request.masked: unknown expert 'head'"),
        ({"adapter": "tuned", "decision": "none"}, "input/unknown-name", "no decision 'none'"),
        ({"adapter": "plain", "decision": "kept"}, "adapter/mismatch", "another adapter"),
        ({"adapter": "tuned", "decision": "kept", "topK": 1}, "input/invalid-spec", "a kept decision"),
        ({"adapter": "gone", "masked": ["q"]}, "adapter/not-found", "'gone'"),
    ],
)
def test_what_no_router_can_do_is_refused_before_any_work(run_op, opened, request_fields, code: str, text: str):
    answer(run_op, {"prompt": "Hi", "adapter": "tuned", "keepDecisionAs": "kept"})
    with pytest.raises(MiloraError) as caught:
        submit(run_op, {"prompt": "Hi", **request_fields})
    assert caught.value.code == code
    assert text in caught.value.message
    assert engine().is_idle
