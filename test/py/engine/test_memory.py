"""The engine's peak memory is what arithmetic says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

_BASE: dict[str, Any] = {
    "vocab_size": 16_384,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 16,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
# glibc gives back at once what it takes from the system piece by piece; reused heaps would hide what is freed.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "32768", "MALLOC_TRIM_THRESHOLD_": "0"}


@pytest.mark.skipif(sys.platform != "linux", reason="the process's memory is read from /proc")
def test_the_peak_is_base_and_adapters_and_cache_and_stacks_within_3_percent(milora_plan: Any) -> None:
    def plan(num_layers: int) -> dict[str, Any]:
        with torch.device("meta"):
            model = LlamaForCausalLM(LlamaConfig(**{**_BASE, "num_hidden_layers": num_layers}))
        chosen = [["q", "v", "down"]] * num_layers
        return milora_plan(model, rank=32, chosen=chosen)

    asked = {"base": _BASE, "config": plan(_BASE["num_hidden_layers"]), "warmConfig": plan(2)}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "memory_process.py")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **_MALLOC, "TRANSFORMERS_VERBOSITY": "error"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    expected = found["base"] + found["adapters"] + found["cache"] + found["stacks"]
    assert found["base"] > 200e6
    assert found["peak"] == pytest.approx(expected, rel=0.03), found
