"""Products by either library against float64."""

from __future__ import annotations

import pytest
import torch

from milora.engine.fused import linear as linear_module
from milora.engine.fused.linear import linear, runs_onednn


@pytest.mark.parametrize("rows", [1, 3, 8, 65])
@pytest.mark.parametrize("has_bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("is_amd", [False, True], ids=["mkl", "onednn"])
def test_it_is_the_float64_product(is_amd: bool, has_bias: bool, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_amd and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(linear_module, "_PREFERS_ONEDNN", is_amd)
    generator = torch.Generator().manual_seed(rows)
    inputs, weight = (torch.randn(shape, generator=generator) for shape in ((rows, 96), (2, 40, 96)))
    bias = torch.randn(40, generator=generator) if has_bias else None
    # A part of a larger weight, as a module's view of a fused one is.
    part = weight[1]
    expected = inputs.double() @ part.double().t() + (0 if bias is None else bias.double())
    with torch.inference_mode():
        torch.testing.assert_close(linear(inputs, part, bias).double(), expected, atol=1e-5, rtol=1e-6)


def test_only_float32_is_multiplied_by_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_module, "_PREFERS_ONEDNN", True)
    assert runs_onednn(torch.zeros(1, 4))
    assert not runs_onednn(torch.zeros(1, 4, dtype=torch.bfloat16))
    monkeypatch.setattr(linear_module, "_PREFERS_ONEDNN", False)
    assert not runs_onednn(torch.zeros(1, 4))
