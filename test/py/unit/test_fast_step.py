"""What computes a training step faster gives the numbers of what it stands for, and leaves nothing behind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRMSNorm, LlamaRotaryEmbedding

from milora.checkpoint import attach_adapter
from milora.models import fast_decoder
from milora.models.fast_attention import fast_attention
from milora.models.fast_norm import fast_norm
from milora.routing.fused_pool import normalized_attention_pool
from milora.routing.pooler import attention_pool, normalizing_scale
from milora.training import TrainingSession, TrainingSettings
from milora.tuners.base import Factors, MethodHooks, low_rank_linear

LENGTHS = [(5, 1), (9, 7), (3, 2), (14, 4), (6, 11), (2, 1), (8, 3), (4, 5)]
ROWS = range(len(LENGTHS))


def leaf(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


@pytest.mark.parametrize("dropped", [True, False])
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("rows", [None, [1], [0, 2]])
def test_gradcheck_of_a_low_rank_module(dropped: bool, gated: bool, rows: list[int] | None) -> None:
    base = nn.Linear(5, 4, bias=rows is None).double().requires_grad_(False)
    used = torch.ones(3) if rows is None else torch.zeros(3).index_fill(0, torch.tensor(rows), 1.0)
    x, other, gate = leaf(3, 2, 5, seed=0), leaf(3, 2, 5, seed=1), leaf(3, seed=2)
    down, up = leaf(2, 5, seed=3), leaf(4, 2, seed=4)

    def output(x: Tensor, other: Tensor, gate: Tensor, down: Tensor, up: Tensor) -> Tensor:
        factors = Factors.of(down, up, 0.7, torch.float64)
        picked = None if rows is None else torch.tensor(rows)
        return low_rank_linear(x, base, factors, gate if gated else None, other if dropped else None, picked)

    def written_out() -> Tensor:
        inner = (other if dropped else x) @ down.T @ up.T * 0.7 * used.view(-1, 1, 1)
        return base(x) + (gate.view(-1, 1, 1) * inner if gated else inner)

    assert torch.allclose(output(x, other, gate, down, up), written_out(), atol=1e-12)
    assert torch.autograd.gradcheck(output, (x, other, gate, down, up))
    # In a step on Θ the factors are frozen.
    assert torch.autograd.gradcheck(output, (x, other, gate, down.detach(), up.detach()))


def test_a_frozen_factor_and_an_input_without_gradient_cost_nothing() -> None:
    base = nn.Linear(5, 4).requires_grad_(False)
    down, up = leaf(2, 5, seed=3, dtype=torch.float32), leaf(4, 2, seed=4, dtype=torch.float32)
    x = leaf(3, 5, seed=0, dtype=torch.float32).detach()
    output = low_rank_linear(x, base, Factors.of(down, up.requires_grad_(False), 1.0, torch.float32))
    assert output.grad_fn is not None
    output.sum().backward()
    assert down.grad is not None
    assert (x.grad, up.grad) == (None, None)


def test_gradcheck_of_the_pooler_in_one_step() -> None:
    mask = torch.tensor([[False, True, True, True], [True, True, False, False], [False] * 4])
    hidden, weight = leaf(3, 4, 6, seed=0), leaf(6, seed=1)
    expected = attention_pool(hidden, mask, weight, normalizing_scale(hidden))
    assert torch.equal(normalized_attention_pool(hidden, mask, weight), expected)
    assert torch.autograd.gradcheck(lambda states, w: normalized_attention_pool(states, mask, w), (hidden, weight))


def same_gradients(
    fast: Callable[..., Tensor], plain: Callable[..., Tensor], inputs: list[Tensor], tolerance: float
) -> None:
    expected, found = plain(*inputs), fast(*inputs)
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(9)).to(expected)
    assert torch.allclose(found, expected, atol=tolerance)
    pairs = zip(
        torch.autograd.grad(found, inputs, upstream), torch.autograd.grad(expected, inputs, upstream), strict=True
    )
    for actual, wanted in pairs:
        assert torch.allclose(actual, wanted, rtol=tolerance, atol=tolerance * float(wanted.abs().max()))


def test_a_norm_in_one_step_is_transformers_norm() -> None:
    norm = LlamaRMSNorm(12, eps=1e-3)
    norm.weight.data = torch.linspace(0.5, 2, 12)
    assert fast_norm(norm) is None, "its weight trains"
    norm.requires_grad_(False)
    forward = fast_norm(norm)
    assert forward is not None
    same_gradients(forward, norm, [leaf(2, 5, 12, seed=0, dtype=torch.float32)], 1e-5)
    assert fast_norm(nn.LayerNorm(12).requires_grad_(False)) is None


@pytest.mark.parametrize("masked", [True, False])
def test_attention_in_one_step_is_transformers_eager_attention(masked: bool) -> None:
    config = LlamaConfig(hidden_size=24, num_attention_heads=6, num_key_value_heads=2)
    config._attn_implementation = "eager"
    torch.manual_seed(4)
    block, rotary = LlamaAttention(config, 0), LlamaRotaryEmbedding(config)
    hidden = leaf(2, 5, 24, seed=0, dtype=torch.float32)
    positions = rotary(hidden, torch.arange(3, 8).expand(2, 5))
    mask = torch.full((2, 1, 5, 5), torch.finfo(torch.float32).min).triu(1) if masked else None
    if mask is not None:
        # The second row is padded at its end.
        mask[1, :, :, 4] = torch.finfo(torch.float32).min

    forward = fast_attention(block)
    assert forward is not None
    weights = [block.q_proj.weight, block.k_proj.weight, block.v_proj.weight, block.o_proj.weight]
    same_gradients(
        lambda states, *_: forward(states, positions, mask)[0],
        lambda states, *_: block(states, positions, mask)[0],
        [hidden, *weights],
        1e-5,
    )
    block.attention_dropout = 0.1
    assert fast_attention(block) is None


@pytest.fixture
def start(tiny_model: Callable[..., Any], milora_plan: Any, lora_plan: Any, randomize: Any) -> Callable[..., Any]:
    def build(family: str, method: str, dtype: torch.dtype, **settings: Any) -> TrainingSession:
        base = tiny_model(family).to(dtype).requires_grad_(False)
        base.set_attn_implementation("eager")
        plan = milora_plan if method == "milora" else lora_plan
        model = attach_adapter(base, plan(base, rank=4), "tuned")
        randomize(model, "tuned", scale=0.3)
        return TrainingSession(model, "tuned", TrainingSettings(micro_batch=3, **settings), pad_id=0)

    return build


def gradient(session: TrainingSession, dataset: Any) -> Tensor:
    session.model.train()
    session._accumulate(session._rows(dataset, ROWS), "weights")
    return torch.cat([part.double().flatten() for part in session.weights.take_gradients()])


def replaced(model: nn.Module) -> list[str]:
    return [type(module).__name__ for module in model.modules() if "forward" in module.__dict__]


@pytest.mark.parametrize("method", ["lora", "milora"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "phi3", "gemma2"])
def test_in_bfloat16_a_step_is_as_near_to_float32_as_the_modules_own(
    start: Any, random_dataset: Any, monkeypatch: pytest.MonkeyPatch, family: str, method: str
) -> None:
    dataset = random_dataset(LENGTHS)
    exact = gradient(start(family, method, torch.float32), dataset)
    fast = gradient(start(family, method, torch.bfloat16), dataset)
    with monkeypatch.context() as patch:
        patch.setattr(MethodHooks, "fast_forwards", lambda *_: contextlib.nullcontext())
        patch.setattr("milora.training.session.fast_decoder", lambda _: contextlib.nullcontext())
        slow = gradient(start(family, method, torch.bfloat16), dataset)
    assert not torch.equal(fast, slow)
    assert (fast - exact).norm() < 2 * (slow - exact).norm()
    assert (fast - exact).norm() < 0.5 * exact.norm()


@pytest.mark.parametrize("method", ["lora", "milora"])
def test_only_a_step_runs_it_and_nothing_is_left_behind(start: Any, random_dataset: Any, method: str) -> None:
    session = start("llama", method, torch.bfloat16)
    seen: list[int] = []
    base = session.model.get_base_model()
    base.lm_head.register_forward_pre_hook(lambda *_: seen.append(len(replaced(session.model))))
    session.step(random_dataset(LENGTHS), ROWS, 1e-3, "weights")
    # Three layers: seven linear modules, the attention and two norms each, and the last norm.
    assert seen[0] == 3 * 10 + 1
    assert replaced(session.model) == []
    with pytest.raises(RuntimeError, match="breaks off"), fast_decoder(base):
        raise RuntimeError("breaks off")
    assert replaced(session.model) == []


def test_in_float32_lora_stays_pefts_own_to_the_last_bit(start: Any, random_dataset: Any) -> None:
    session = start("llama", "lora", torch.float32)
    with session.hooks.fast_forwards(session.model, "tuned"), fast_decoder(session.model):
        assert replaced(session.model) == []


def test_dropout_acts_on_the_input_of_a_alone(
    start: Any, tiny_model: Any, lora_plan: Any, random_dataset: Any
) -> None:
    base = tiny_model("llama").to(torch.bfloat16).requires_grad_(False)
    model = attach_adapter(base, lora_plan(base, lora_dropout=0.5), "tuned")
    module: Any = model.get_submodule("base_model.model.model.layers.0.mlp.down_proj")
    module.lora_B["tuned"].weight.data.fill_(0.5)
    hooks = TrainingSession(model, "tuned", TrainingSettings(), pad_id=0).hooks
    x = leaf(2, 3, 48, seed=0, dtype=torch.bfloat16).detach()
    model.train()
    torch.manual_seed(3)
    expected = module(x)
    with hooks.fast_forwards(model, "tuned"):
        torch.manual_seed(3)
        found = module(x)
    # PEFT drops in float32, where the same mask falls.
    assert torch.allclose(found.float(), expected.float(), atol=0.1)
    assert not torch.allclose(found.float(), module.base_layer(x).float(), atol=0.1)
