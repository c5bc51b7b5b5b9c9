"""The router and one decoder layer against plain float64 references that share no code with the package.

The references loop over rows, tokens and experts and follow the paper's formulas term by term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from milora.checkpoint import attach_adapter
from milora.routing.context import routing_context
from milora.tuners import split_parameters

TOLERANCE = 1e-10
HIDDEN, HEADS, FFN, NUM_TOKENS = 16, 2, 24, 7
HEAD = HIDDEN // HEADS
TOP_K, RANK, ALPHA, BALANCE = 3, 3, 6.0, 0.7
INPUTS = ("normalized", "raw")
ROLES = ("q", "k", "v", "o", "gate", "up", "down")


def total_of(values: list[Tensor]) -> Tensor:
    return sum(values, torch.zeros((), dtype=torch.float64))


def reference_pool(tokens: list[Tensor], pooler: str, weight: Tensor | None) -> Tensor:
    """One row's pooled state; ``tokens`` are its prompt's, in order."""
    if pooler == "last-token":
        return tokens[-1]
    if pooler == "average":
        return torch.stack([total_of([token[d] for token in tokens]) / len(tokens) for d in range(HIDDEN)])
    if pooler == "max":
        return torch.stack([max((token[d] for token in tokens), key=float) for d in range(HIDDEN)])
    assert weight is not None
    exponentials = [torch.exp((token * weight).sum()) for token in tokens]
    total = total_of(exponentials)
    pooled = torch.zeros(HIDDEN, dtype=torch.float64)
    for token, exponential in zip(tokens, exponentials, strict=True):
        pooled = pooled + exponential / total * token
    return pooled


def reference_activation(value: Tensor, activation: str, weights: dict[str, Tensor]) -> Tensor:
    if activation == "gelu":
        return value * (1 + torch.erf(value / math.sqrt(2))) / 2
    if activation == "relu":
        return value if float(value.detach()) > 0 else value * 0
    above = total_of([a * value**j for j, a in enumerate(weights["numerator"])])
    below = total_of([b * value ** (i + 1) for i, b in enumerate(weights["denominator"])])
    return above / (1 + torch.abs(below))


def reference_gates(probabilities: list[Tensor], top_k: int, gate: str) -> list[Tensor]:
    kept = sorted(range(len(probabilities)), key=lambda index: -probabilities[index].item())[:top_k]
    kept_sum = total_of([probabilities[index] for index in kept])
    gates = []
    for index, probability in enumerate(probabilities):
        if gate == "none":
            # 0 or 1, with the slope k in the probability.
            gates.append(float(index in kept) + top_k * (probability - probability.item()))
        elif index not in kept:
            gates.append(torch.zeros((), dtype=torch.float64))
        else:
            gates.append(probability / kept_sum * top_k if gate == "scaled" else probability)
    return gates


def reference_router(
    states: Tensor, prompt: list[int], weights: dict[str, Tensor], settings: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Probabilities and gates of one row; ``prompt`` holds the positions of its prompt's tokens."""
    tokens = []
    for position in prompt:
        state = states[position]
        if settings["router_input"] == "normalized":
            total = total_of([value * value for value in state.unbind()])
            state = state / torch.sqrt(total / len(state) + 1e-6)
        tokens.append(state)
    pooled = reference_pool(tokens, settings["pooler"], weights.get("pool"))
    activated = [reference_activation(value, settings["activation"], weights) for value in pooled.unbind()]
    scores = [torch.exp((torch.stack(activated) * row).sum()) for row in weights["projection"]]
    whole = total_of(scores)
    probabilities = [score / whole for score in scores]
    gates = reference_gates(probabilities, TOP_K, settings["gate"])
    return torch.stack(probabilities), torch.stack(gates)


def reference_balance(probabilities: list[Tensor]) -> Tensor:
    """N_mod Σ f_i p̂_i over the rows of a batch."""
    rows, experts = len(probabilities), len(probabilities[0])
    firsts = [max(range(experts), key=lambda index, row=row: row[index].item()) for row in probabilities]
    terms = [
        firsts.count(index) / rows * (total_of([row[index] for row in probabilities]) / rows)
        for index in range(experts)
    ]
    return experts * total_of(terms)


def reference_norm(state: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    return state / torch.sqrt((state * state).sum() / len(state) + epsilon) * weight


def reference_expert(
    value: Tensor, base: Tensor, down: Tensor, up: Tensor, gate: Tensor, scale: float, magnitude: Tensor | None
) -> Tensor:
    """Base and gated expert; with a magnitude the DoRA expert, whose norm is a constant."""
    plain = base @ value
    if magnitude is None:
        return plain + gate * scale * (up @ (down @ value))
    changed = base + scale * (up @ down)
    outputs = []
    for row, length in zip(changed, magnitude, strict=True):
        norm = math.sqrt(sum(entry * entry for entry in row.tolist()))
        outputs.append(length / norm * (row * value).sum())
    return plain + gate * (torch.stack(outputs) - plain)


def reference_rotate(vector: Tensor, position: int) -> Tensor:
    """Rotary embedding of one head's vector: pairs (i, i + HEAD / 2), angle position / 10000^(2 i / HEAD)."""
    half = HEAD // 2
    out = [torch.zeros((), dtype=torch.float64)] * HEAD
    for i in range(half):
        angle = position / 10000 ** (2 * i / HEAD)
        cosine, sine = math.cos(angle), math.sin(angle)
        out[i] = vector[i] * cosine - vector[i + half] * sine
        out[i + half] = vector[i + half] * cosine + vector[i] * sine
    return torch.stack(out)


def reference_layer(
    states: Tensor, first: int, module: Callable[[str, Tensor], Tensor], norms: tuple[Tensor, Tensor], epsilon: float
) -> dict[int, Tensor]:
    """One Llama layer for one row whose real tokens start at ``first``; the outputs by position."""
    queries, keys, values = {}, {}, {}
    positions = range(first, states.shape[0])
    for t in positions:
        normed = reference_norm(states[t], norms[0], epsilon)
        heads = {role: module(role, normed).reshape(HEADS, HEAD) for role in ("q", "k", "v")}
        queries[t] = [reference_rotate(head, t - first) for head in heads["q"]]
        keys[t] = [reference_rotate(head, t - first) for head in heads["k"]]
        values[t] = heads["v"]
    outputs = {}
    for t in positions:
        mixed = []
        for head in range(HEADS):
            scores = [
                torch.exp((queries[t][head] * keys[s][head]).sum() / math.sqrt(HEAD)) for s in range(first, t + 1)
            ]
            total = sum(scores, torch.zeros((), dtype=torch.float64))
            mixed.append(
                sum(
                    (score / total * values[s][head] for score, s in zip(scores, range(first, t + 1), strict=True)),
                    torch.zeros(HEAD, dtype=torch.float64),
                )
            )
        middle = states[t] + module("o", torch.cat(mixed))
        normed = reference_norm(middle, norms[1], epsilon)
        gated = module("gate", normed)
        outputs[t] = middle + module("down", gated * torch.sigmoid(gated) * module("up", normed))
    return outputs


def float64_norm(norm: nn.Module, epsilon: float) -> nn.Module:
    """transformers' own RMSNorm computes in float32; torch's keeps float64."""
    replaced = nn.RMSNorm(HIDDEN, eps=epsilon).double()
    with torch.no_grad():
        replaced.weight.copy_(torch.as_tensor(norm.weight))
    return replaced


class Float64Rotary(nn.Module):
    """transformers' own takes the angles in float32."""

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        frequency = 1.0 / 10000.0 ** (torch.arange(0, HEAD, 2, dtype=torch.float64) / HEAD)
        angles = position_ids[..., None].double() * frequency
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()


@pytest.fixture
def one_layer(milora_plan: Callable[..., Any], randomize: Callable[..., None]) -> Callable[..., Any]:
    def build(**changes: Any) -> Any:
        torch.manual_seed(3)
        config = LlamaConfig(
            vocab_size=20,
            hidden_size=HIDDEN,
            intermediate_size=FFN,
            num_hidden_layers=1,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            initializer_range=0.3,
        )
        base = LlamaForCausalLM(config).double()
        layer = base.model.layers[0]
        for owner, name in ((layer, "input_layernorm"), (layer, "post_attention_layernorm"), (base.model, "norm")):
            norm = getattr(owner, name)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            setattr(owner, name, float64_norm(norm, config.rms_norm_eps))
        base.model.rotary_emb = Float64Rotary()  # pyright: ignore[reportAttributeAccessIssue]
        model = attach_adapter(base, milora_plan(base, rank=RANK, alpha=ALPHA, top_k=TOP_K, **changes), "default")
        randomize(model, "default", seed=1, scale=0.5)
        return model

    return build


def router_weights(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """By kind; a variant without one of them lacks the kind."""
    kinds = ("pool", "numerator", "denominator", "projection")
    return {
        kind: value for kind in kinds for name, value in parameters.items() if f"milora_prompt_{kind}.default" in name
    }


def compare_gradients(actual_loss: Tensor, expected_loss: Tensor, parameters: Mapping[str, Tensor]) -> None:
    actual_gradients = torch.autograd.grad(actual_loss, list(parameters.values()))
    expected_gradients = torch.autograd.grad(expected_loss, list(parameters.values()))
    seen: set[str] = set()
    for name, actual, expected in zip(parameters, actual_gradients, expected_gradients, strict=True):
        bound = TOLERANCE * max(1.0, float(expected.abs().max()))
        assert torch.allclose(actual, expected, rtol=0, atol=bound), name
        if float(expected.abs().max()) > 0:
            seen.add(name.split(".")[-2])
    # An expert that no row chose has no gradient; of each kind of parameter some have.
    assert seen == {name.split(".")[-2] for name in parameters}, "a gradient is zero everywhere: the test is blind"


DEFAULTS = {
    "pooler": "self-attention",
    "activation": "rational",
    "gate": "scaled",
    "router_input": "normalized",
    "expert": "lora",
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        *({"pooler": pooler, "router_input": how} for pooler in ("average", "max", "last-token") for how in INPUTS),
        {"router_input": "raw"},
        {"gate": "probability"},
        {"gate": "probability", "router_input": "raw"},
        {"gate": "none"},
        {"activation": "gelu"},
        {"activation": "relu"},
        {"expert": "dora"},
        {"expert": "dora", "gate": "probability", "pooler": "max", "activation": "gelu"},
        {"expert": "dora", "gate": "none"},
    ],
    ids=lambda changes: "-".join(changes.values()) or "default",
)
def test_layer_matches_reference(one_layer: Callable[..., Any], changes: dict[str, str]) -> None:
    settings = {**DEFAULTS, **changes}
    model = one_layer(**changes)
    base = model.get_base_model()
    ids = torch.randint(1, 20, (2, NUM_TOKENS), generator=torch.Generator().manual_seed(5))
    firsts, prompts = (0, 2), ([0, 1, 2, 3], [2, 3])
    attention, prompt_mask = (torch.ones_like(ids), torch.zeros(2, NUM_TOKENS, dtype=torch.bool))
    attention[1, : firsts[1]] = 0
    for row, positions in enumerate(prompts):
        prompt_mask[row, positions] = True

    collected: list[Tensor] = []
    hook = base.model.norm.register_forward_pre_hook(lambda _module, args: collected.append(args[0]))
    context = routing_context(model)
    assert context is not None
    position_ids = torch.stack([(torch.arange(NUM_TOKENS) - first).clamp(min=0) for first in firsts])
    with context.prompt(prompt_mask), context.record() as record:
        model(input_ids=ids, attention_mask=attention, position_ids=position_ids, use_cache=False)
    hook.remove()

    omega, theta = split_parameters(model, "default")
    parameters = {**omega, **theta}
    weights = router_weights(dict(parameters))
    layer = base.model.layers[0]
    norms = (layer.input_layernorm.weight, layer.post_attention_layernorm.weight)
    actual_loss = expected_loss = torch.zeros((), dtype=torch.float64)
    expected_probabilities: list[Tensor] = []
    probe = torch.randn(2, NUM_TOKENS, HIDDEN, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    for row, (first, prompt) in enumerate(zip(firsts, prompts, strict=True)):
        states = base.model.embed_tokens.weight[ids[row]]
        probabilities, gates = reference_router(states, prompt, weights, settings)
        expected_probabilities.append(probabilities)
        assert torch.allclose(record.probabilities[0][row], probabilities, rtol=0, atol=TOLERANCE)
        assert torch.allclose(record.gates[row, 0], gates, rtol=0, atol=TOLERANCE)

        def module(role: str, value: Tensor, gates: Tensor = gates) -> Tensor:
            block = "self_attn" if role in ("q", "k", "v", "o") else "mlp"
            linear = layer.get_submodule(f"{block}.{role}_proj")
            down = next(v for n, v in parameters.items() if f"{role}_proj.milora_prompt_down" in n)
            up = next(v for n, v in parameters.items() if f"{role}_proj.milora_prompt_up" in n)
            magnitude = next((v for n, v in parameters.items() if f"{role}_proj.milora_prompt_magnitude" in n), None)
            weight = linear.base_layer.weight
            return reference_expert(value, weight, down, up, gates[ROLES.index(role)], ALPHA / RANK, magnitude)

        expected = reference_layer(states, first, module, norms, base.config.rms_norm_eps)
        for position, output in expected.items():
            actual = collected[0][row, position]
            assert torch.allclose(actual, output, rtol=0, atol=TOLERANCE), (row, position)
            actual_loss = actual_loss + (actual * probe[row, position]).sum()
            expected_loss = expected_loss + (output * probe[row, position]).sum()

    actual_balance, expected_balance = (record.balance_loss(), reference_balance(expected_probabilities))
    assert actual_balance is not None
    assert torch.allclose(actual_balance, expected_balance, rtol=0, atol=TOLERANCE)
    actual_loss = actual_loss + BALANCE * actual_balance
    expected_loss = expected_loss + BALANCE * expected_balance
    assert any("magnitude" in name for name in parameters) == (settings["expert"] == "dora")
    assert bool(theta) == (settings["activation"] == "rational")
    compare_gradients(actual_loss, expected_loss, parameters)
