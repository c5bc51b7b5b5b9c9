"""``milora.plan``: what TypeScript plans for the same model, to the last field."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM, PreTrainedModel

import milora
from milora.errors import MiloraError
from milora.models import decoder_layers
from milora.server.call import Call
from milora.server.ops.model import describe_model
from milora.tuners import build_config

ROOT = Path(__file__).resolve().parents[3]

_TYPESCRIPT = """
import { readFileSync } from "node:fs";
import { resolveGraph } from "./ts/graph/model-graph.js";
import { resolveMethod } from "./ts/methods/registry.js";
import { methodSchema } from "./ts/spec/method.js";
const { described, methods } = JSON.parse(readFileSync(0, "utf8"));
const plans = methods.map((given) => {
  const method = methodSchema.parse(given);
  return resolveMethod(resolveGraph(described, method.moduleNames), method).config;
});
console.log(JSON.stringify(plans));
"""

_HALVES: list[tuple[float, Any]] = [(0.5, "relu"), (1, "gelu")]

# Each pair: a method as TypeScript takes it, the same for Python.
COMMON: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"rank": 8, "alpha": 16, "topK": 1, "dropout": 0.05}, {"rank": 8, "alpha": 16, "top_k": 1, "dropout": 0.05}),
    ({"modules": ["down", "o"], "topK": 2}, {"modules": ["down", "o"], "top_k": 2}),
    ({"ranks": {"down": 2}, "pooler": "max"}, {"ranks": {"down": 2}, "pooler": "max"}),
    (
        {"activation": [{"upTo": share, "activation": name} for share, name in _HALVES], "gate": "none"},
        {"activation": _HALVES, "gate": "none"},
    ),
    ({"policy": {"kind": "all"}, "accumulate": "float32"}, {"policy": "all", "accumulate": "float32"}),
    (
        {"policy": {"kind": "fixed", "layers": {"0-1": ["down", "o"]}}, "routerInput": "raw"},
        {"policy": {"0-1": ["down", "o"]}, "router_input": "raw"},
    ),
    (
        {"moduleNames": {"out": "self_attn.o_proj", "d": "mlp.down_proj"}, "topK": 1},
        {"module_names": {"out": "self_attn.o_proj", "d": "mlp.down_proj"}, "top_k": 1},
    ),
    ({"kind": "midora"}, {"expert": "dora"}),
]


def by_typescript(model: PreTrainedModel, folder: Path, methods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Plans from the folder's config alone, as the command line makes them."""
    node = shutil.which("node")
    if node is None or not (ROOT / "node_modules" / "tsx").is_dir():
        pytest.skip("needs node and the npm packages (npm ci) to run the TypeScript")
    model.save_pretrained(folder)
    given = {"described": describe_model({"model": str(folder)}, Call()), "methods": methods}
    command = [node, "--import", "tsx", "--input-type=module", "-e", _TYPESCRIPT]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_plans_are_those_of_typescript(tiny_model, tmp_path, family):
    methods = [{"kind": "milora", **method} for method, _ in COMMON]
    expected = by_typescript(tiny_model(family), tmp_path, methods)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    for (_, options), plan in zip(COMMON, expected, strict=True):
        assert milora.plan(model, **options) == plan, options
    assert len({json.dumps(plan) for plan in expected}) == len(COMMON)


def test_plan_of_a_model_with_an_adapter(tiny_model):
    model = tiny_model("llama")
    plan = milora.plan(model)
    assert milora.plan(milora.attach(model, milora.plan(model, rank=2))) == plan


def test_attach_is_new_trainable_and_seeded(tiny_model):
    def attached(seed: int) -> list[torch.Tensor]:
        base = tiny_model("llama")
        state = torch.get_rng_state()
        model = milora.attach(base, milora.plan(base, rank=4), "mine", seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        assert model.active_adapters == ["mine"]
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    first, again, other = attached(0), attached(0), attached(1)
    assert first
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_attach_takes_a_config_object(tiny_model):
    plan = milora.plan(tiny_model("llama"), rank=4)
    config = build_config(plan)
    assert isinstance(config, milora.MiloraConfig)
    before = config.to_dict()
    by_object, by_fields = milora.attach(tiny_model("llama"), config), milora.attach(tiny_model("llama"), plan)
    assert by_object.peft_config["default"] == by_fields.peft_config["default"]
    pairs = zip(by_object.named_parameters(), by_fields.named_parameters(), strict=True)
    assert all(one[0] == two[0] and torch.equal(one[1], two[1]) for one, two in pairs)
    assert config.to_dict() == before


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"top_k": 8}, "input/invalid-spec", "allowed 1 to 7"),
        ({"modules": ["query"]}, "input/unknown-name", "'query'"),
        ({"modules": []}, "input/invalid-spec", "modules is empty"),
        ({"module_names": {"q": "attn.q"}}, "input/unknown-name", "self_attn.q_proj"),
        ({"policy": {"1-3": ["q"]}}, "input/invalid-spec", "layers 0 to 2"),
        ({"policy": {"0-1": ["q"], "1": ["v"]}}, "input/invalid-spec", "layer 1 twice"),
        ({"policy": {"0": ["x"]}}, "input/unknown-name", "'x'"),
        ({"policy": "random"}, "input/invalid-spec", "'random'"),
        ({"activation": [(0.5, "relu")]}, "input/invalid-spec", "rising shares"),
        ({"pooler": "mean"}, "adapter/mismatch", "pooler is 'mean'"),
    ],
)
def test_refusals(tiny_model, options, code, message):
    with pytest.raises(MiloraError, match=message) as caught:
        milora.plan(tiny_model("llama"), **options)
    assert caught.value.code == code


def test_unknown_decoder(tiny_model):
    model = tiny_model("llama")
    for layer in model.model.layers:
        layer.mlp.extra = torch.nn.Linear(4, 4)
        layer.mlp.fc = layer.mlp.up_proj
        del layer.mlp.up_proj
    with pytest.raises(MiloraError, match="module_names") as caught:
        milora.plan(model)
    assert caught.value.code == "model/unsupported"
    assert "mlp.fc" in caught.value.message


def test_the_decoder_layers_are_the_largest_list() -> None:
    sizes: dict[str, Any] = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    model = MixtralForCausalLM(MixtralConfig(**sizes, num_key_value_heads=2, num_hidden_layers=3, num_local_experts=2))
    path, layers = decoder_layers(model)
    assert (path, len(layers)) == ("model.layers", 3)
    with pytest.raises(MiloraError, match="Linear has no list of decoder layers") as caught:
        decoder_layers(nn.Linear(2, 2))
    assert caught.value.code == "model/unsupported"
