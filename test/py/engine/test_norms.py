"""Norms against transformers' modules, in float32 and below."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from milora.engine.fused.norms import read_norm


@pytest.mark.parametrize("kind", [LlamaRMSNorm, Gemma3RMSNorm])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e-3, 1.0, 1e4])
def test_norms_are_those_of_the_modules(kind: Any, dtype: torch.dtype, scale: float) -> None:
    module = kind(24, eps=1e-5).to(dtype)
    generator = torch.Generator().manual_seed(1)
    module.weight.data += 0.3 * torch.randn(24, generator=generator).to(dtype)
    states = (scale * torch.randn(5, 24, generator=generator)).to(dtype)
    expected = module(states)
    found = read_norm(module, offset=kind is Gemma3RMSNorm)(states)
    assert found.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 0.0
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
