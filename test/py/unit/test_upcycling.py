"""LoRA adapters of plain PEFT as experts, and fixed choices as plain LoRA adapters: scales, strictness, logits."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from milora.checkpoint import attach_adapter
from milora.engine import AdapterHost, export_lora, import_lora
from milora.errors import MiloraError

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IDS = torch.arange(3, 40)[None]
RANKS = {"q": 2, "down": 6}
ALPHAS = {"q": 7.0, "k": 1.0}


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


def plain_lora(base: Any, folder: Path, **changes: Any) -> torch.Tensor:
    """Saves a moved LoRA adapter made by PEFT alone; gives its logits."""
    settings = {"r": 4, "lora_alpha": 3, "target_modules": MODULES, "task_type": "CAUSAL_LM", **changes}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = get_peft_model(base, LoraConfig(**settings))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(str(folder))
    return logits(model)


@pytest.fixture
def plan_for(tiny_model, milora_plan) -> Callable[..., dict[str, Any]]:
    """A plan with k = 7 and gates of 1, with the rank and alpha of each expert."""

    def make(alphas: dict[str, float] | None = None, rank: Any = 4, **changes: Any) -> dict[str, Any]:
        settings: dict[str, Any] = {"top_k": 7, "gate": "none", **changes}
        plan = milora_plan(tiny_model("llama"), rank=rank, alpha=3.0, **settings)
        for layer in plan["layers"]:
            for expert in layer["experts"]:
                expert["alpha"] = (alphas or {}).get(expert["name"], 3.0)
        return plan

    return make


PATTERNS = {
    "plain": ({}, {}),
    "patterns": (
        {"rank_pattern": {"q_proj": 2, "mlp.down_proj": 6}, "alpha_pattern": {r"layers\.\d+\.self_attn\.q_proj": 7}},
        {"rank": RANKS, "alphas": {"q": 7.0}},
    ),
    "rank-stabilised": (
        {"use_rslora": True},
        {"alphas": dict.fromkeys("qkvo", 6.0) | {"gate": 6, "up": 6, "down": 6}},
    ),
}


@pytest.mark.parametrize("case", PATTERNS)
def test_an_imported_adapter_is_the_lora_adapter_at_full_k(case: str, tiny_model, plan_for, tmp_path):
    lora, plan = PATTERNS[case]
    expected = plain_lora(tiny_model("llama"), tmp_path / "lora", **lora)
    host = AdapterHost(tiny_model("llama"))
    parameters = import_lora(host, tmp_path / "lora", tmp_path / "out", plan_for(**plan), seed=3)
    assert host.names == ()
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert parameters == sum(tensor.numel() for tensor in tensors.values())
    loaded = AdapterHost(tiny_model("llama")).load("mine", tmp_path / "out")
    assert (logits(loaded) - expected).abs().max() < 1e-5
    assert (logits(tiny_model("llama")) - expected).abs().max() > 0.1


def test_routers_are_those_of_a_new_adapter_of_the_seed(tiny_model, plan_for, tmp_path):
    plain_lora(tiny_model("llama"), tmp_path / "lora")
    # Two of seven are active, so each is 7/2 times as strong.
    plan = plan_for(top_k=2, alphas=dict.fromkeys(["q", "k", "v", "o", "gate", "up", "down"], 3.0 * 7 / 2))
    import_lora(AdapterHost(tiny_model("llama")), tmp_path / "lora", tmp_path / "out", plan, seed=3)
    with pytest.raises(MiloraError, match="does not have the scales"):
        import_lora(AdapterHost(tiny_model("llama")), tmp_path / "lora", tmp_path / "no", plan_for(top_k=2), seed=3)
    found = load_file(tmp_path / "out" / "adapter_model.safetensors")
    host = AdapterHost(tiny_model("llama"))
    host.attach("new", plan, 3)
    new = host.tensors("new")
    assert found.keys() == new.keys()
    same = {key for key in found if torch.equal(found[key], new[key])}
    assert same == {key for key in found if "prompt_router" in key}
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["top_k"] == 2


@pytest.mark.parametrize(
    ("lora", "plan", "code", "message"),
    [
        ({"use_rslora": True}, {}, "adapter/mismatch", r"scale 1.5 \(alpha / √rank"),
        ({"alpha_pattern": {"v_proj": 9}}, {}, "adapter/mismatch", r"layers.0.self_attn.v_proj.*scale 2.25 .*0.75"),
        ({"r": 8}, {}, "adapter/mismatch", r"has shape \[8, 32\], the model needs \[4, 32\]"),
        ({"target_modules": MODULES[:6]}, {}, "adapter/mismatch", r"down_proj.lora_A.weight is missing"),
        ({"target_modules": [*MODULES, "lm_head"]}, {}, "adapter/unsupported", r"model.lm_head.lora_A.weight"),
        ({"target_modules": [*MODULES, "embed_tokens"]}, {}, "adapter/unsupported", "lora_embedding_A"),
        ({"modules_to_save": ["lm_head"]}, {}, "adapter/unsupported", r"base_model.model.lm_head.weight"),
        ({"use_dora": True}, {}, "adapter/unsupported", "is DoRA"),
        ({"init_lora_weights": "pissa"}, {}, "adapter/unsupported", "init_lora_weights is 'pissa'"),
        ({"lora_bias": True}, {}, "adapter/unsupported", "lora_B.bias"),
        ({}, {"expert": "dora"}, "adapter/unsupported", "found dora"),
    ],
)
def test_what_is_no_plain_lora_of_the_plan_is_refused(
    lora, plan, code: str, message: str, tiny_model, plan_for, tmp_path
):
    plain_lora(tiny_model("llama"), tmp_path / "lora", **lora)
    host = AdapterHost(tiny_model("llama"))
    with pytest.raises(MiloraError, match=message) as caught:
        import_lora(host, tmp_path / "lora", tmp_path / "out", plan_for(**plan), seed=0)
    assert caught.value.code == code
    assert host.names == ()
    assert not (tmp_path / "out").exists()


def test_a_milora_adapter_is_no_lora_adapter(tiny_model, plan_for, tmp_path):
    host = AdapterHost(tiny_model("llama"))
    host.attach("mine", plan_for(), 0)
    host.save("mine", tmp_path / "mine")
    with pytest.raises(MiloraError, match="peft_type MILORA_PROMPT; allowed: LORA"):
        import_lora(host, tmp_path / "mine", tmp_path / "out", plan_for(), seed=0)


CHOSEN = {"model.layers.0": ["q", "down"], "model.layers.2": ["v"]}


def strength(plan: dict[str, Any], kept: list[str]) -> float:
    """The gates of a learned policy add up to k, whatever is kept of a layer."""
    return plan["top_k"] / len(kept) if plan["policy"] == "learned" else 1.0


def lora_config(plan: dict[str, Any], chosen: dict[str, list[str]], **changes: Any) -> dict[str, Any]:
    """As TypeScript plans it: full paths, with the ranks and scales that differ from r and lora_alpha."""
    kept = {
        f"{layer['path']}.{expert['module']}": {
            **expert,
            "alpha": expert["alpha"] * strength(plan, chosen[layer["path"]]),
        }
        for layer in plan["layers"]
        for expert in layer["experts"]
        if expert["name"] in chosen.get(layer["path"], [])
    }
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "",
        "inference_mode": True,
        "r": plan["r"],
        "lora_alpha": plan["lora_alpha"],
        "lora_dropout": 0.0,
        "rank_pattern": {path: expert["rank"] for path, expert in kept.items()},
        "alpha_pattern": {path: expert["alpha"] for path, expert in kept.items()},
        "target_modules": list(kept),
        "bias": "none",
        **changes,
    }


@pytest.fixture
def save_routed(tiny_model, plan_for, randomize, tmp_path) -> Callable[..., dict[str, Any]]:
    """Saves a moved adapter with learned routers, k = 2 and gates, to ``routed``; gives its plan."""

    def save(alphas: dict[str, float]) -> dict[str, Any]:
        plan = plan_for(rank=RANKS, alphas=alphas, top_k=2, gate="scaled")
        host = AdapterHost(tiny_model("llama"))
        randomize(host.attach("mine", plan, 0), "mine", seed=2)
        host.save("mine", tmp_path / "routed")
        return plan

    return save


@pytest.fixture
def routed(save_routed) -> dict[str, Any]:
    """An adapter whose alphas and ranks differ from module to module."""
    return save_routed(ALPHAS)


_FRESH = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
torch.set_num_threads(1)
found = {}
for dtype in (torch.float32, torch.float64):
    base = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=dtype)
    model = PeftModel.from_pretrained(base, sys.argv[2]).to(dtype).eval()
    with torch.no_grad():
        found[str(dtype)] = model(torch.arange(3, 40)[None]).logits
assert not [name for name in sys.modules if name.split(".")[0] == "milora"]
torch.save(found, sys.argv[3])
"""


@pytest.mark.parametrize(
    ("alphas", "float32_bound"),
    # Scales of 1/2, 1/4 and 2: no rounding, so bit for bit. Any others: PEFT scales behind B, we before it, which in
    # float32 is another last bit of each module, and what this random model makes of it; float64 has the proof.
    [({"q": 1.0, "down": 1.5, "v": 8.0}, 0.0), (ALPHAS, 1e-5)],
    ids=["powers-of-two", "any"],
)
def test_an_exported_choice_gives_the_routed_adapters_logits_without_milora(
    alphas, float32_bound: float, tiny_model, save_routed, tmp_path
):
    routed = save_routed(alphas)
    config = lora_config(routed, CHOSEN)
    parameters = export_lora(tmp_path / "routed", tmp_path / "out", config, CHOSEN)
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert len(tensors) == 6
    assert parameters == sum(tensor.numel() for tensor in tensors.values())
    tiny_model("llama").save_pretrained(tmp_path / "base")
    arguments = [str(tmp_path / name) for name in ("base", "out", "logits")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-W", "ignore", "-c", _FRESH, *arguments]
    subprocess.run(command, check=True, timeout=120, cwd=tmp_path, env=environment)
    found = torch.load(tmp_path / "logits", weights_only=True)

    # The same experts under a fixed policy of the same choice: gates of 1.
    weights = load_file(tmp_path / "routed" / "adapter_model.safetensors")
    fixed = copy.deepcopy(routed) | {"policy": "fixed", "gate": "none"}
    for layer in fixed["layers"]:
        layer["chosen"] = CHOSEN.get(layer["path"], [])
        for expert in layer["experts"]:
            expert["alpha"] *= strength(routed, layer["chosen"]) if layer["chosen"] else 1.0
    experts = {key: tensor for key, tensor in weights.items() if "prompt_router" not in key}
    for dtype, bound in ((torch.float32, float32_bound), (torch.float64, 1e-12)):
        base = tiny_model("llama").to(dtype)
        expected = logits(attach_adapter(base, fixed, "fixed", experts))
        assert (found[str(dtype)] - expected).abs().max() <= bound
        assert (logits(tiny_model("llama").to(dtype)) - expected).abs().max() > 0.1


@pytest.mark.parametrize(
    ("chosen", "changes", "code", "message"),
    [
        ({"model.layers.0": ["q", "dwn"]}, {}, "input/unknown-name", "no expert 'dwn' in model.layers.0; it has q, k"),
        ({"model.layers.7": ["q"]}, {}, "input/unknown-name", "no layer model.layers.7; it has model.layers.0"),
        ({"model.layers.0": []}, {}, "adapter/unsupported", "nothing to export"),
        (CHOSEN, {"target_modules": ["q_proj"]}, "adapter/mismatch", "target_modules lacks model.layers.0.mlp"),
        (CHOSEN, {"rank_pattern": {}}, "adapter/mismatch", "says rank 4, the MiLoRA config 2"),
        (CHOSEN, {"alpha_pattern": {}}, "adapter/mismatch", "says scale 1.5 .*the MiLoRA config 3.5"),
        (CHOSEN, {"use_rslora": True}, "adapter/mismatch", "√rank"),
        (CHOSEN, {"use_dora": True}, "adapter/unsupported", "is DoRA"),
        (CHOSEN, {"rnak": 3}, "adapter/unreadable", "unknown fields: rnak"),
    ],
)
def test_an_export_that_would_mean_something_else_is_refused(
    chosen, changes, code: str, message: str, routed, tmp_path
):
    with pytest.raises(MiloraError, match=message) as caught:
        export_lora(tmp_path / "routed", tmp_path / "out", lora_config(routed, chosen, **changes), chosen)
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_a_damaged_adapter_is_not_exported(routed, tmp_path):
    file = tmp_path / "routed" / "adapter_model.safetensors"
    tensors = load_file(file)
    removed = "base_model.model.model.layers.0.mlp.down_proj.milora_prompt_up"
    tensors.pop(removed)
    save_file(tensors, file)
    with pytest.raises(MiloraError, match=f"{removed} is missing"):
        export_lora(tmp_path / "routed", tmp_path / "out", lora_config(routed, CHOSEN), CHOSEN)


def test_lora_to_milora_to_lora_is_the_same_file(tiny_model, plan_for, tmp_path):
    plain_lora(tiny_model("llama"), tmp_path / "lora")
    plan = plan_for()
    import_lora(AdapterHost(tiny_model("llama")), tmp_path / "lora", tmp_path / "milora", plan, seed=0)
    chosen = {layer["path"]: [expert["name"] for expert in layer["experts"]] for layer in plan["layers"]}
    export_lora(tmp_path / "milora", tmp_path / "out", lora_config(plan, chosen), chosen)
    before, after = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("lora", "out"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    expected = logits(PeftModel.from_pretrained(tiny_model("llama"), str(tmp_path / "lora")))
    assert torch.equal(logits(PeftModel.from_pretrained(tiny_model("llama"), str(tmp_path / "out"))), expected)
