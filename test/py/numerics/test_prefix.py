"""P-tuning v2 and IAPT against plain references in float64, gradients too, on every family of decoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from milora.checkpoint import attach_adapter
from milora.routing.context import routing_context
from milora.tuners.base import BLOCK_ATTRIBUTE

PLANS: dict[str, tuple[str, dict[str, Any]]] = {
    "p-tuning": ("MILORA_P_TUNING_V2", {"tokens": 3, "embedding": 4}),
    "iapt": ("MILORA_IAPT", {"tokens": 3, "bottleneck": 4}),
}
# Gemma 2 caps its scores, which transformers computes with eager attention only.
ATTENTIONS = [
    *(("llama", attention) for attention in ("sdpa", "eager")),
    *(("qwen3", attention) for attention in ("sdpa", "eager")),
    *(("phi3", attention) for attention in ("sdpa", "eager")),
    ("gemma2", "eager"),
]
TOKENS, PADDING, ANSWER = 70, 9, 5
"""More tokens than Gemma 2's window of 64."""

Build = Callable[..., Any]


@pytest.fixture
def build(tiny_model: Build, planned: Build, randomize: Build) -> Build:
    """``build("iapt", "llama")``: a float64 model with a moved adapter."""

    def make(method: str, family: str = "llama", attention: str = "sdpa") -> Any:
        base = tiny_model(family).double()
        base.set_attn_implementation(attention)
        peft_type, settings = PLANS[method]
        model = attach_adapter(base, planned(base, peft_type, only=["attention"], **settings), "default")
        randomize(model, "default", seed=3, scale=0.5)
        return model.eval()

    return make


def block_of(model: Any, layer: int) -> Any:
    return getattr(model.get_base_model().model.layers[layer].self_attn, BLOCK_ATTRIBUTE)


def parameters_of(block: Any) -> dict[str, Tensor]:
    """What a block holds for the adapter, by the container's name without its prefix."""
    return {name.rpartition("_")[2]: getattr(block, name)["default"] for name in block.adapter_layer_names}


def rational(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    top = torch.stack([a * x**power for power, a in enumerate(numerator)]).sum(dim=0)
    bottom = torch.stack([b * x ** (power + 1) for power, b in enumerate(denominator)]).sum(dim=0)
    return top / (1 + bottom.abs())


def soft_by_hand(p: dict[str, Tensor], prompt: Tensor) -> Tensor:
    """A prompt's soft tokens, [P, D], from its tokens' states that enter the layer, [T, D]."""
    if "embedding" in p:
        return torch.einsum("pe,ed->pd", p["embedding"], p["projection"])
    normed = prompt / (prompt.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    z = normed @ p["down"].T
    pooled = torch.stack([torch.softmax(z @ query, dim=0) @ z for query in p["queries"]])
    return rational(pooled, p["numerator"], p["denominator"]) @ p["up"]


def projected(module: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values before heads are told apart."""
    if not hasattr(module, "qkv_proj"):
        return module.q_proj(x), module.k_proj(x), module.v_proj(x)
    wide = module.config.num_attention_heads * module.head_dim
    narrow = module.config.num_key_value_heads * module.head_dim
    query, key, value = module.qkv_proj(x).split([wide, narrow, narrow], dim=-1)
    return query, key, value


def attention_by_hand(module: Any, x: Tensor, soft: Tensor, rotary: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
    """Attention of x, [T, D], over soft tokens and what of itself is seen, [T, T], head by head."""
    size, heads = module.head_dim, module.config.num_attention_heads
    shared = heads // module.config.num_key_value_heads
    (query, key, value), (_, soft_key, soft_value) = projected(module, x), projected(module, soft)
    cap = getattr(module, "attn_logit_softcapping", None)
    cos, sin = rotary

    def head_of(states: Tensor, index: int, norm: Any = None) -> Tensor:
        states = states[:, index * size : (index + 1) * size]
        return states if norm is None else norm(states)

    def rotated(states: Tensor) -> Tensor:
        turned = torch.cat([-states[:, size // 2 :], states[:, : size // 2]], dim=-1)
        return states * cos + turned * sin

    seen = torch.cat([torch.ones(len(x), len(soft), dtype=torch.bool), seen], dim=1)
    outputs: list[Tensor] = []
    for head in range(heads):
        norms = getattr(module, "q_norm", None), getattr(module, "k_norm", None)
        soft_keys = head_of(soft_key, head // shared, norms[1])
        keys = torch.cat([soft_keys, rotated(head_of(key, head // shared, norms[1]))])
        values = torch.cat([head_of(soft_value, head // shared), head_of(value, head // shared)])
        scores = rotated(head_of(query, head, norms[0])) @ keys.T * module.scaling
        if cap is not None:
            scores = cap * torch.tanh(scores / cap)
        outputs.append(torch.softmax(scores.masked_fill(~seen, -torch.inf), dim=-1) @ values)
    return module.o_proj(torch.cat(outputs, dim=-1))


def visible(real: Tensor, window: int | None) -> Tensor:
    """Which of a row's tokens each one sees: no padding, nothing later, nothing outside its window."""
    place = torch.arange(len(real))
    distance = place[:, None] - place[None]
    near = distance < (len(real) if window is None else window)
    return (distance >= 0) & near & real[None]


def watched(model: Any, layer: int) -> dict[str, Any]:
    """What the layer and its attention are given, and what the attention gives, in the forward passes to come."""
    found: dict[str, Any] = {}
    module = model.get_base_model().model.layers[layer]

    def entering(_layer: Any, args: Any, kwargs: Any) -> None:
        found["entering"] = args[0] if args else kwargs["hidden_states"]

    def attended(_block: Any, args: Any, kwargs: Any, output: Any) -> None:
        found.update(x=args[0] if args else kwargs["hidden_states"], rotary=kwargs["position_embeddings"])
        found["output"] = output[0]

    module.register_forward_pre_hook(entering, with_kwargs=True)
    module.self_attn.register_forward_hook(attended, with_kwargs=True)
    return found


@pytest.mark.parametrize("method", ["p-tuning", "iapt"])
@pytest.mark.parametrize(("family", "attention"), ATTENTIONS)
@pytest.mark.parametrize("layer", [0, 1])
def test_a_layer_attends_to_its_soft_tokens(
    build: Build, method: str, family: str, attention: str, layer: int
) -> None:
    """Two rows, one padded: without a position, whatever the window, in front of heads that share keys."""
    model = build(method, family, attention)
    module = model.get_base_model().model.layers[layer].self_attn
    model.get_base_model().enable_input_require_grads()
    found = watched(model, layer)
    ids = torch.randint(2, 96, (2, TOKENS), generator=torch.Generator().manual_seed(4))
    mask = torch.ones_like(ids)
    mask[1, :PADDING] = 0
    labels = ids.clone()
    labels[:, :-ANSWER] = -100
    model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False)
    p = parameters_of(block_of(model, layer))
    # Eager attention takes its softmax in float32, Qwen 3 the norms of queries and keys.
    tolerance = 1e-10 if attention == "sdpa" and family != "qwen3" else 1e-5
    inputs = [*p.values(), found["entering"]]
    for row in range(2):
        real = mask[row] != 0
        prompt = found["entering"][row][real & (labels[row] == -100)]
        cos, sin = (part[min(row, len(part) - 1)].double() for part in found["rotary"])
        seen = visible(real, getattr(module, "sliding_window", None))
        soft = soft_by_hand(p, prompt)
        expected = attention_by_hand(module, found["x"][row], soft, (cos, sin), seen)[real]
        actual = found["output"][row][real]
        assert torch.allclose(actual, expected, rtol=0, atol=tolerance)
        without = attention_by_hand(module, found["x"][row], soft[:0], (cos, sin), seen)[real]
        assert not torch.allclose(actual, without, rtol=0, atol=1e-2), "no soft tokens: the test is blind"
        gradients = torch.autograd.grad(actual.square().sum(), inputs, retain_graph=True, allow_unused=True)
        references = torch.autograd.grad(expected.square().sum(), inputs, retain_graph=True, allow_unused=True)
        for one, other in zip(gradients, references, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert float(other.abs().max()) > 0
                assert torch.allclose(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))
        assert all(gradient is not None for gradient in gradients[: len(p)])


@pytest.mark.parametrize(
    ("attention", "settings", "causal"),
    [("sdpa", {}, True), ("sdpa", {"is_causal": False}, False), ("eager", {}, False)],
)
def test_a_missing_mask_means_what_it_meant(
    build: Build, attention: str, settings: dict[str, Any], causal: bool
) -> None:
    model = build("p-tuning", "llama", attention)
    base = model.get_base_model().model
    module = base.layers[0].self_attn
    x = torch.randn(6, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cos, sin = base.rotary_emb(x[None], torch.arange(6)[None])
    actual = module(hidden_states=x[None], position_embeddings=(cos, sin), attention_mask=None, **settings)[0][0]
    everything = torch.ones(6, 6, dtype=torch.bool)
    soft = soft_by_hand(parameters_of(block_of(model, 0)), x)
    seen = everything.tril() if causal else everything
    expected = attention_by_hand(module, x, soft, (cos[0].double(), sin[0].double()), seen)
    assert torch.allclose(actual, expected, rtol=0, atol=1e-10 if attention == "sdpa" else 1e-5)


def test_iapt_reads_the_prompt_alone_and_trains_all_of_its_parts(build: Build) -> None:
    block = block_of(build("iapt"), 0)
    p = parameters_of(block)
    assert set(p) == {"down", "queries", "numerator", "denominator", "up"}
    hidden = torch.randn(2, 5, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    mask = torch.tensor([[False, True, True, True, False], [True, True, False, False, False]])
    actual = block.make("default", hidden, mask)
    expected = torch.stack([soft_by_hand(p, states[real]) for states, real in zip(hidden, mask, strict=True)])
    assert torch.allclose(actual, expected, rtol=0, atol=1e-10)
    inputs = [*p.values(), hidden]
    gradients = torch.autograd.grad(actual.square().sum(), inputs)
    references = torch.autograd.grad(expected.square().sum(), inputs)
    for one, other in zip(gradients, references, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)
        assert float(other.abs().max()) > 0
    assert torch.equal(gradients[-1][~mask], torch.zeros_like(hidden[~mask]))
    with torch.no_grad():
        moved = hidden.clone()
        moved[~mask] += 5
        assert torch.equal(block.make("default", moved, mask), actual)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, build: Build) -> list[tuple[int, ...]]:
    """Rows and tokens of every making of soft tokens by IAPT, of all layers."""
    calls: list[tuple[int, ...]] = []
    layer = type(block_of(build("iapt"), 0))
    original = layer.make

    def counted(self: Any, adapter: str, hidden: Tensor, mask: Tensor) -> Tensor:
        calls.append(tuple(hidden.shape[:2]))
        return original(self, adapter, hidden, mask)

    monkeypatch.setattr(layer, "make", counted)
    return calls


@pytest.mark.parametrize(
    ("settings", "rows"), [({}, 2), ({"num_beams": 3}, 6), ({"cache_implementation": "static"}, 2)]
)
def test_iapt_makes_them_once_a_prompt(
    build: Build, made: list[tuple[int, ...]], settings: dict[str, Any], rows: int
) -> None:
    """Each step of decoding attends to the very tensor that the prefill made."""
    model = build("iapt").float()
    steps: list[int] = []
    block = block_of(model, 1)
    model.get_base_model().model.layers[1].register_forward_hook(
        lambda *_: steps.append(id(block.soft_tokens("default")))
    )
    ids = torch.randint(2, 96, (2, 7), generator=torch.Generator().manual_seed(1))
    model.generate(input_ids=ids, max_new_tokens=5, do_sample=False, **settings)
    assert made == [(rows, 7)] * model.config.num_hidden_layers
    assert len(steps) == 5
    assert len(set(steps)) == 1


@pytest.mark.parametrize("method", ["p-tuning", "iapt"])
def test_an_assistant_drafts_for_the_same_tokens(build: Build, tiny_model: Build, method: str) -> None:
    model = build(method).float()
    ids = torch.randint(2, 96, (1, 12), generator=torch.Generator().manual_seed(6))
    settings: dict[str, Any] = {"input_ids": ids, "max_new_tokens": 8, "do_sample": False}
    expected = model.generate(**settings)
    for assistant in (tiny_model("llama", seed=1), tiny_model("llama")):
        assert torch.equal(model.generate(**settings, assistant_model=assistant), expected)
    bare = tiny_model("llama").generate(**settings)
    assert not torch.equal(expected, bare), "the adapter changes nothing: the test is blind"


def test_iapt_under_gradient_checkpointing_holds_no_copies_of_the_states(
    build: Build, made: list[tuple[int, ...]]
) -> None:
    """What is made is made again in the backward pass, as the layer behind it is."""
    model = build("iapt").float().train()
    model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    ids = torch.randint(2, 96, (2, 7), generator=torch.Generator().manual_seed(1))
    context = routing_context(model)
    assert context is not None
    prompt = torch.ones_like(ids, dtype=torch.bool)
    prompt[:, -2:] = False
    with context.prompt(prompt):
        loss = model(input_ids=ids, labels=ids.masked_fill(prompt, -100), use_cache=False).loss
    layers = model.config.num_hidden_layers
    assert len(made) == layers
    loss.backward()
    assert len(made) == 2 * layers


@pytest.mark.parametrize("method", ["p-tuning", "iapt"])
def test_soft_tokens_of_no_value_still_take_their_share(tiny_model: Build, planned: Build, method: str) -> None:
    """Neither method starts as the base model: a new adapter's soft tokens are zero, whose score is 0 and not -∞."""
    base = tiny_model("llama").double()
    peft_type, settings = PLANS[method]
    model: Any = attach_adapter(base, planned(base, peft_type, only=["attention"], **settings), "default").eval()
    found = watched(model, 0)
    ids = torch.arange(2, 9)[None]
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
        module = model.get_base_model().model.layers[0].self_attn
        cos, sin = (part[0].double() for part in found["rotary"])
        zero = torch.zeros(3, 32, dtype=torch.float64)
        seen = visible(torch.ones(7, dtype=torch.bool), None)
        expected = attention_by_hand(module, found["x"][0], zero, (cos, sin), seen)
        assert torch.allclose(found["output"][0], expected, rtol=0, atol=1e-10)
        without = attention_by_hand(module, found["x"][0], zero[:0], (cos, sin), seen)
        assert not torch.allclose(expected, without, rtol=0, atol=1e-3)
