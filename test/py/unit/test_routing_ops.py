"""Operations that change, keep or count routing decisions."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from milora.errors import MiloraError
from milora.server.ops import session

TEXTS = ["Hi", "What is this, and what is that? " * 3, "b c d e f "]
EXPERTS = ["q", "k", "v", "o", "gate", "up", "down"]


@pytest.fixture
def bare(checkpoint):
    """The checkpoint's model without any adapter, to plan adapters for."""
    return AutoModelForCausalLM.from_pretrained(checkpoint)


@pytest.fixture
def opened(run_op, checkpoint, milora_plan, randomize):
    """A tiny model with a randomised adapter ``tuned`` of k = 3."""
    run_op("openModel", model=str(checkpoint), device="cpu", dtype="float32")
    current = session.current()
    plan = milora_plan(current.opened.model, top_k=3)
    run_op("attachAdapter", adapter="tuned", config=plan)
    with current.host.use("tuned") as active:
        randomize(active.model, "tuned", seed=1)
    return plan


def _ask(run_op, *changes, **settings):
    requests = [{"prompt": text, "adapter": "tuned", **change} for text, change in zip(TEXTS, changes, strict=True)]
    return run_op("generate", requests=requests, maxNewTokens=6, explain=True, **settings)["outputs"]


def test_k_is_lowered_for_single_requests(run_op, opened):
    plain = _ask(run_op, {}, {}, {})
    lowered = _ask(run_op, {"topK": 1}, {}, {"topK": 2})
    assert [len(output["routing"]["experts"][0]) for output in lowered] == [1, 3, 2]
    assert lowered[1] == plain[1]
    assert lowered[0]["routing"]["experts"][0] == plain[0]["routing"]["experts"][0][:1]


def test_masked_experts_are_never_active(run_op, opened):
    masked = _ask(run_op, {"masked": ["q", "down"]}, {}, {"masked": EXPERTS[:6]})
    assert all(not {"q", "down"} & set(layer) for layer in masked[0]["routing"]["experts"])
    assert masked[2]["routing"]["experts"] == [["down"], ["down"]]
    with pytest.raises(MiloraError, match=r"requests\[1\].masked: unknown expert 'dwn'"):
        _ask(run_op, {}, {"masked": ["dwn"]}, {})


def test_a_kept_decision_is_used_again_by_name(run_op, opened):
    kept = _ask(run_op, {}, {"keepDecisionAs": "first turn"}, {}, beams=2)
    used = _ask(run_op, {"decision": "first turn"}, {}, {"decision": "first turn"})
    for output in used:
        assert output["routing"]["experts"] == kept[1]["routing"]["experts"]
        assert torch.tensor(output["routing"]["gates"]).allclose(torch.tensor(kept[1]["routing"]["gates"]), atol=1e-6)
    with pytest.raises(MiloraError, match="Did you mean 'first turn'") as caught:
        _ask(run_op, {"decision": "first trun"}, {}, {})
    assert caught.value.code == "input/unknown-name"


def test_a_decision_belongs_to_its_adapter(run_op, opened):
    _ask(run_op, {"keepDecisionAs": "mine"}, {}, {})
    run_op("attachAdapter", adapter="other", config=opened)
    with pytest.raises(MiloraError, match="made by another adapter"):
        run_op("generate", requests=[{"prompt": "Hi", "adapter": "other", "decision": "mine"}])
    run_op("unloadAdapter", adapter="tuned")
    with pytest.raises(MiloraError, match="There is no decision 'mine'"):
        run_op("generate", requests=[{"prompt": "Hi", "adapter": "other", "decision": "mine"}])


def test_routing_of_prompts_is_counted(run_op, opened):
    requests = [{"prompt": text} for text in TEXTS]
    whole = run_op("routePrompts", adapter="tuned", requests=requests)
    assert whole["experts"] == EXPERTS
    assert [sum(layer) for layer in whole["chosen"]] == [3 * len(TEXTS)] * 2
    assert [sum(layer) for layer in whole["argmax"]] == [len(TEXTS)] * 2
    single = run_op("routePrompts", adapter="tuned", requests=requests, microBatch=1)
    assert single["chosen"] == whole["chosen"]
    assert single["balance"] == pytest.approx(whole["balance"], abs=1e-6)
    shown = _ask(run_op, {}, {}, {})
    for index, name in enumerate(EXPERTS):
        assert whole["chosen"][0][index] == sum(name in output["routing"]["experts"][0] for output in shown)


def test_gates_of_the_first_prompts_are_those_of_each_alone(run_op, opened):
    texts = [TEXTS[0] * 3, *TEXTS]
    routed = run_op("routePrompts", adapter="tuned", requests=[{"prompt": text} for text in texts], explain=2)
    assert len(routed["gates"]) == 2
    assert run_op("routePrompts", adapter="tuned", requests=[{"prompt": texts[0]}])["gates"] == []
    for text, layers in zip(texts, routed["gates"], strict=False):
        output = run_op("generate", requests=[{"prompt": text, "adapter": "tuned"}], maxNewTokens=1, explain=True)
        routing = output["outputs"][0]["routing"]
        for layer, experts, gates in zip(layers, routing["experts"], routing["gates"], strict=True):
            found = {name: gate for name, gate in zip(EXPERTS, layer, strict=True) if gate != 0}
            assert found == pytest.approx(dict(zip(experts, gates, strict=True)), abs=1e-5)


def test_a_fixed_policy_has_counts_but_no_balance(run_op, opened, bare, milora_plan):
    plan = milora_plan(bare, chosen=[["q"], ["v", "down"]])
    run_op("attachAdapter", adapter="fixed", config=plan)
    counted = run_op("routePrompts", adapter="fixed", requests=[{"prompt": text} for text in TEXTS])
    assert counted["balance"] is None
    assert counted["chosen"][0] == [3, 0, 0, 0, 0, 0, 0]
    assert counted["chosen"][1] == [0, 0, 3, 0, 0, 0, 3]
