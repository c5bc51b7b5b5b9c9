"""What an engine's memory comes to, in a process of its own: another test's allocations would drown it.

Reads ``{"base", "config", "warmConfig"}`` on stdin (a Llama's sizes, an adapter's plan of fixed experts for it, and
one for a model of two layers that warms up the libraries); prints ``{"peak", "base", "adapters", "cache", "stacks"}``
in bytes: the peak is measured above what the process held before there was a model, the others are arithmetic.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from milora.engine.fused import Engine, EngineLimits, EngineRequest
from milora.engine.fused.cache import KvCache
from milora.tuners import register

NUM_TENANTS = 8
NUM_RESIDENT = 4
_PROMPT, _NEW = 100, 40


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _weights(config: dict[str, Any]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for layer in config["layers"]:
        for expert in layer["experts"]:
            path = f"base_model.model.{layer['path']}.{expert['module']}"
            tensors[f"{path}.milora_prompt_down"] = torch.randn(expert["rank"], expert["in_features"])
            tensors[f"{path}.milora_prompt_up"] = torch.randn(expert["out_features"], expert["rank"]) / 100
    return tensors


def _chosen_bytes(config: dict[str, Any]) -> int:
    """Of the active experts of one adapter."""
    return sum(
        4 * expert["rank"] * (expert["in_features"] + expert["out_features"])
        for layer in config["layers"]
        for expert in layer["experts"]
        if expert["name"] in layer["chosen"]
    )


def _all_bytes(config: dict[str, Any]) -> int:
    experts = [expert for layer in config["layers"] for expert in layer["experts"]]
    return sum(4 * expert["rank"] * (expert["in_features"] + expert["out_features"]) for expert in experts)


def measure(sizes: dict[str, Any], config: dict[str, Any]) -> dict[str, int]:
    """Tenants, of whom half fit, are loaded; those that do write a text together."""
    before = _memory("VmRSS")
    model = LlamaForCausalLM(LlamaConfig(**sizes)).requires_grad_(False).eval()
    adapter = _all_bytes(config)
    limits = EngineLimits(max_rows=8, adapter_bytes=NUM_RESIDENT * adapter)
    engine = Engine(model, limits)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    for tenant in range(NUM_TENANTS):
        engine.load(f"tenant{tenant}", config, _weights(config))
    for tenant in range(NUM_TENANTS - NUM_RESIDENT, NUM_TENANTS):
        prompt = tuple(3 + (tenant + place) % 90 for place in range(_PROMPT))
        engine.submit(EngineRequest(prompt, f"tenant{tenant}", max_new_tokens=_NEW))
    while not engine.is_idle:
        engine.step(4)
    token = 2 * sizes["num_key_value_heads"] * sizes["head_dim"] * 4 * sizes["num_hidden_layers"]
    return {
        "peak": _memory("VmHWM") - before,
        "base": sum(parameter.nbytes for parameter in model.parameters()),
        "adapters": NUM_RESIDENT * adapter,
        "cache": KvCache.cells(NUM_RESIDENT, _PROMPT + _NEW) * token,
        "stacks": NUM_RESIDENT * _chosen_bytes(config),
    }


def _main() -> None:
    torch.set_num_threads(1)
    register()
    asked = json.loads(sys.stdin.read())
    measure({**asked["base"], "num_hidden_layers": 2}, asked["warmConfig"])
    print(json.dumps(measure(asked["base"], asked["config"])))


if __name__ == "__main__":
    _main()
