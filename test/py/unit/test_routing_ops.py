"""Operations that change, keep or count routing decisions, start from another adapter, and go to and from LoRA."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
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


@pytest.mark.parametrize("change", [{"topK": 1}, {"masked": ["q"]}, {"keepDecisionAs": "x"}])
def test_the_base_model_has_nothing_to_change(run_op, opened, change):
    with pytest.raises(MiloraError, match="has no routers") as caught:
        run_op("generate", requests=[{"prompt": "Hi", **change}])
    assert caught.value.code == "adapter/unsupported"


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


def test_a_fixed_policy_has_counts_but_no_balance(run_op, opened, bare, milora_plan):
    plan = milora_plan(bare, chosen=[["q"], ["v", "down"]])
    run_op("attachAdapter", adapter="fixed", config=plan)
    counted = run_op("routePrompts", adapter="fixed", requests=[{"prompt": text} for text in TEXTS])
    assert counted["balance"] is None
    assert counted["chosen"][0] == [3, 0, 0, 0, 0, 0, 0]
    assert counted["chosen"][1] == [0, 0, 3, 0, 0, 0, 3]


def test_a_warm_start_has_the_other_adapters_weights(run_op, opened, tmp_path):
    run_op("saveAdapter", adapter="tuned", folder=str(tmp_path / "tuned"))
    run_op("attachAdapter", adapter="again", config=opened, seed=7, warmStart=str(tmp_path / "tuned"))
    host = session.current().host
    before, after = host.tensors("tuned"), host.tensors("again")
    assert all(torch.equal(before[key], after[key]) for key in before)
    router = run_op(
        "attachAdapter", adapter="router", config=opened, warmStart=str(tmp_path / "tuned"), trains="router"
    )
    assert router["trainable"] == router["routerParameters"] + router["activationParameters"] > 0


def test_a_warm_start_of_another_plan_names_what_differs(run_op, opened, bare, tmp_path, milora_plan):
    run_op("saveAdapter", adapter="tuned", folder=str(tmp_path / "tuned"))
    other = milora_plan(bare, top_k=3, pooler="max")
    with pytest.raises(MiloraError, match='pooler: found "self-attention", planned "max"') as caught:
        run_op("attachAdapter", adapter="again", config=other, warmStart=str(tmp_path / "tuned"))
    assert caught.value.code == "adapter/mismatch"


def _lora_folder(run_op, plan, randomize, folder: Path) -> None:
    run_op("attachAdapter", adapter="plain", config=plan)
    with session.current().host.use("plain") as active:
        randomize(active.model, "plain", seed=3)
    run_op("saveAdapter", adapter="plain", folder=str(folder))


def _plain_peft_logits(checkpoint: Path, adapter: Path) -> torch.Tensor:
    """Logits of a fresh process that has never heard of milora."""
    script = (
        "import sys, torch; from peft import PeftModel; from transformers import AutoModelForCausalLM\n"
        "base = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)\n"
        "model = PeftModel.from_pretrained(base, sys.argv[2]).eval()\n"
        "assert 'milora' not in sys.modules\n"
        "logits = model(torch.arange(3, 20)[None]).logits.detach()\n"
        "torch.save(logits, sys.argv[3])\n"
    )
    out = adapter.parent / "logits.pt"
    arguments = [sys.executable, "-c", script, str(checkpoint), str(adapter), str(out)]
    subprocess.run(arguments, check=True, timeout=120, capture_output=True)
    return torch.load(out, weights_only=True)


def test_lora_modules_become_experts_and_lora_modules_again(
    run_op, opened, bare, checkpoint, tmp_path, lora_plan, milora_plan, randomize
):
    lora, imported, back = tmp_path / "lora", tmp_path / "imported", tmp_path / "back"
    _lora_folder(run_op, lora_plan(bare), randomize, lora)
    settings = json.loads((lora / "adapter_config.json").read_text())
    plan = milora_plan(bare, rank=settings["r"], alpha=float(settings["lora_alpha"]), top_k=7, gate="none")
    run_op("importLora", folder=str(lora), out=str(imported), config=plan, seed=5)
    assert "imported" not in session.current().host.names
    chosen = {layer["path"]: EXPERTS for layer in plan["layers"]}
    config = {
        **settings,
        "target_modules": [f"{p}.{e['module']}" for p in chosen for e in plan["layers"][0]["experts"]],
    }
    run_op("exportLora", folder=str(imported), out=str(back), config=config, chosen=chosen)
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (lora, back))
    assert all(torch.equal(first[key], second[key]) for key in first | second)
    run_op("loadAdapter", adapter="routed", folder=str(imported))
    with session.current().host.use("routed") as active, torch.no_grad():
        ours = active.model(torch.arange(3, 20)[None]).logits
    assert (ours - _plain_peft_logits(checkpoint, back)).abs().max() < 1e-5 * ours.abs().max()


def test_more_than_lora_modules_cannot_be_experts(run_op, opened, bare, tmp_path, lora_plan, milora_plan, randomize):
    lora = tmp_path / "lora"
    _lora_folder(run_op, lora_plan(bare), randomize, lora)
    weights = lora / "adapter_model.safetensors"
    tensors = load_file(weights)
    settings = json.loads((lora / "adapter_config.json").read_text())
    plan = milora_plan(bare, rank=settings["r"], top_k=3)

    def fails(match: str, code: str, **changed: torch.Tensor | None) -> None:
        names = {name.replace("__", "."): tensor for name, tensor in changed.items()}
        kept = {key: value for key, value in {**tensors, **names}.items() if value is not None}
        save_file(kept, weights)
        with pytest.raises(MiloraError, match=match) as caught:
            run_op("importLora", folder=str(lora), out=str(tmp_path / "out"), config=plan)
        assert caught.value.code == code
        assert not (tmp_path / "out").exists()

    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    fails("more than LoRA modules.*lm_head", "adapter/unsupported", lm_head__weight=torch.zeros(2))
    fails("q_proj.lora_A.weight is missing", "adapter/mismatch", **{key: None})
    fails(r"has shape \[1, 1\]", "adapter/mismatch", **{key: torch.zeros(1, 1)})
    (lora / "adapter_config.json").write_text(json.dumps({**settings, "use_dora": True}))
    fails("is DoRA", "adapter/unsupported")
