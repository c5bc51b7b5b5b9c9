"""SSP: the threshold against brute force, gradients against finite differences, both forms against plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from milora.checkpoint import attach_adapter
from milora.errors import MiloraError
from milora.models import decoder_of
from milora.tuners import build_config, count_parameters, split_parameters
from milora.tuners.methods import hooks_of
from milora.tuners.ssp import SspLinear
from milora.tuners.ssp.budget import draw_gates, keep_logits, kept_candidates, threshold
from milora.tuners.ssp.search import set_gates

IDS = torch.randint(2, 96, (2, 7), generator=torch.Generator().manual_seed(8))
ONLY = ["q", "k", "v", "o", "gate", "up", "down"]
RANK, ALPHA, BETA, BUDGET = 3, 5.0, 0.5, 2500
SEARCH = {"r": RANK, "lora_alpha": ALPHA, "temperature": BETA, "budget": BUDGET, "place": {"lora": True, "bias": True}}
FINAL = {
    "r": RANK,
    "lora_alpha": ALPHA,
    "temperature": BETA,
    "budget": None,
    "place": {"lora": True, "bias": False},
    "places": {"q": {"lora": True, "bias": True}, "down": {"lora": False, "bias": True}},
}


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > 0 else math.exp(value) / (1 + math.exp(value))


def logit(share: float) -> float:
    return math.log(share / (1 - share))


def expected_size(structure: list[float], sizes: list[int], zeta: float, beta: float) -> float:
    return math.fsum(size * sigmoid((alpha - zeta) / beta) for alpha, size in zip(structure, sizes, strict=True))


def brute_zeta(structure: list[float], sizes: list[int], budget: float, beta: float) -> float:
    """Halves an interval that surely holds ζ."""
    low, high = -1e4, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if expected_size(structure, sizes, middle, beta) > budget else (low, middle)
    return (low + high) / 2


def random_candidates(seed: int, spread: float) -> tuple[Tensor, Tensor]:
    """α and sizes of 40 candidates, the sizes from a bias's to a wide module's."""
    generator = torch.Generator().manual_seed(seed)
    structure = spread * torch.randn(20, 2, generator=generator, dtype=torch.float64)
    modules = torch.randint(2_000, 900_000, (20, 1), generator=generator)
    biases = torch.randint(64, 11_008, (20, 1), generator=generator)
    return structure, torch.cat([modules, biases], dim=1).double()


@pytest.mark.parametrize("beta", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("spread", [0.0, 1.0, 50.0])
@pytest.mark.parametrize("share", [None, 1e-4, 0.3, 0.9, 1.0])
def test_the_threshold_solves_its_equation(beta: float, spread: float, share: float | None) -> None:
    structure, sizes = random_candidates(3, spread)
    as_lists = structure.flatten().tolist(), [int(size) for size in sizes.flatten().tolist()]
    budget = min(as_lists[1]) if share is None else int(share * sum(as_lists[1]))
    found = float(threshold(structure, sizes, budget, beta))
    assert expected_size(*as_lists, found, beta) == pytest.approx(budget, rel=1e-6)
    if share != 1.0:
        # For all candidates together there is no finite ζ.
        assert found == pytest.approx(brute_zeta(*as_lists, budget, beta), rel=1e-6, abs=1e-6 * beta)


def test_the_gradient_of_p_is_that_of_finite_differences() -> None:
    structure, sizes = random_candidates(4, 1.0)
    budget = int(0.4 * float(sizes.sum()))

    def probabilities(values: Tensor) -> Tensor:
        return torch.sigmoid(keep_logits(values, sizes, budget, 0.7))

    structure = structure[:4].clone().requires_grad_()
    sizes = sizes[:4]
    budget = int(0.4 * float(sizes.sum()))
    assert torch.autograd.gradcheck(probabilities, structure, eps=1e-5, atol=1e-7)
    jacobian = torch.autograd.functional.jacobian(probabilities, structure).reshape(8, 8)
    # What one candidate gains, the others lose: Σ p n stays the budget.
    assert torch.allclose(sizes.flatten() @ jacobian, torch.zeros(8, dtype=torch.float64), atol=1e-6 * budget)
    assert (jacobian.diagonal() > 0).all()
    kept = probabilities(structure).detach().flatten()
    slopes = kept * (1 - kept) * sizes.flatten()
    (gradient,) = torch.autograd.grad(threshold(structure, sizes, budget, 0.7), structure)
    assert torch.allclose(gradient.flatten(), slopes / slopes.sum(), rtol=1e-9)


def test_gates_follow_the_hard_concrete_distribution() -> None:
    probabilities = torch.tensor([0.02, 0.3, 0.5, 0.95], dtype=torch.float64)
    logits = torch.logit(probabilities).repeat(100_000, 1)
    torch.manual_seed(1)
    gates = draw_gates(logits)
    torch.manual_seed(1)
    assert torch.equal(draw_gates(logits), gates)
    assert not torch.equal(draw_gates(logits), gates)
    assert gates.min() == 0
    assert gates.max() == 1
    # P(stretched s > x) for the binary concrete s at temperature 2/3, stretched to (-0.1, 1.1).
    for limit in (0.0, 0.5, 1 - 1e-12):
        share = (limit + 0.1) / 1.2
        expected = [sigmoid(logit(p) - 2 / 3 * logit(share)) for p in probabilities.tolist()]
        assert (gates > limit).double().mean(dim=0).tolist() == pytest.approx(expected, abs=0.006)


def test_the_gradient_of_gates_is_that_of_finite_differences() -> None:
    structure, sizes = random_candidates(5, 1.0)
    structure, sizes = structure[:6].clone().requires_grad_(), sizes[:6]
    budget = int(0.5 * float(sizes.sum()))

    def gates(values: Tensor) -> Tensor:
        torch.manual_seed(2)
        return draw_gates(keep_logits(values, sizes, budget, 1.0))

    assert ((gates(structure) > 0) & (gates(structure) < 1)).any()
    assert torch.autograd.gradcheck(gates, structure, eps=1e-6, atol=1e-6)


def test_what_is_kept_fits_and_no_more_would() -> None:
    for seed in range(200):
        structure, sizes = random_candidates(seed, 1.0)
        alphas, counts = structure.flatten().tolist(), [int(size) for size in sizes.flatten().tolist()]
        budget = int((seed + 1) / 200 * sum(counts))
        budget = max(budget, min(counts))
        kept = kept_candidates(alphas, counts, budget)
        left = budget - sum(size for size, stays in zip(counts, kept, strict=True) if stays)
        assert left >= 0
        assert any(kept)
        assert all(size > left for size, stays in zip(counts, kept, strict=True) if not stays)
        best = max(range(len(alphas)), key=lambda candidate: alphas[candidate])
        assert kept[best] == (counts[best] <= budget)
    assert kept_candidates([0.0, 0.0, 0.0], [5, 5, 5], 10) == [True, True, False]
    assert kept_candidates([3.0, 2.0, 1.0], [9, 5, 4], 8) == [False, True, False]


@pytest.fixture
def build(
    tiny_model: Callable[..., PreTrainedModel],
    planned: Callable[..., dict[str, Any]],
    randomize: Callable[..., None],
) -> Callable[[dict[str, Any]], Any]:
    """A float64 model with a moved adapter; in a search α is moved too."""

    def make(settings: dict[str, Any]) -> Any:
        base = tiny_model("llama").double()
        model: Any = attach_adapter(base, planned(base, "MILORA_SSP", only=ONLY, **settings), "default")
        randomize(model, "default")
        generator = torch.Generator().manual_seed(6)
        with torch.no_grad():
            for structure in split_parameters(model, "default")[1].values():
                structure.copy_(torch.randn(2, generator=generator, dtype=torch.float64))
        return model.eval()

    return make


def run_recording(model: Any) -> list[tuple[SspLinear, Tensor, Tensor]]:
    """Every adapted module with its input and output, in the order of the plan."""
    found: dict[int, tuple[SspLinear, Tensor, Tensor]] = {}
    layers = [module for module in model.modules() if isinstance(module, SspLinear)]

    def keep(module: Any, args: Any, output: Tensor) -> None:
        found[id(module)] = (module, args[0], output)

    handles = [layer.register_forward_hook(keep) for layer in layers]
    with torch.no_grad():
        model(input_ids=IDS)
    for handle in handles:
        handle.remove()
    return [found[id(layer)] for layer in layers]


def reference(layer: SspLinear, x: Tensor, gates: tuple[float, float]) -> Tensor:
    """y of one place, candidate by candidate and column by column of the LoRA module."""
    base: Any = layer.base_layer
    output = x @ base.weight.T
    if "default" in layer.milora_ssp_down:
        down, up = layer.milora_ssp_down["default"], layer.milora_ssp_up["default"]
        for column in range(RANK):
            output = output + gates[0] * (ALPHA / RANK) * (x @ down[column])[..., None] * up[:, column]
    if "default" in layer.milora_ssp_bias:
        output = output + gates[1] * layer.milora_ssp_bias["default"]
    return output.detach()


def plain_logits(model: Any) -> list[tuple[float, float]]:
    """(α − ζ) / β of each place, in plain floats."""
    places = [module for module in model.modules() if isinstance(module, SspLinear)]
    structure = [alpha for layer in places for alpha in layer.milora_ssp_structure["default"].tolist()]
    sizes = []
    for layer in places:
        base: Any = layer.base_layer
        sizes += [RANK * (base.in_features + base.out_features), base.out_features]
    zeta = brute_zeta(structure, sizes, BUDGET, BETA)
    logits = [(alpha - zeta) / BETA for alpha in structure]
    return list(zip(logits[::2], logits[1::2], strict=True))


def test_the_search_adds_each_candidate_behind_its_gate(build: Callable[..., Any]) -> None:
    model = build(SEARCH)
    logits = plain_logits(model)
    for (layer, x, output), (lora, bias) in zip(run_recording(model), logits, strict=True):
        assert torch.allclose(output, reference(layer, x, (sigmoid(lora), sigmoid(bias))), rtol=0, atol=1e-9)
    torch.manual_seed(5)
    drawn = torch.rand(len(logits), 2, dtype=torch.float64).tolist()
    gates = [
        tuple(
            min(1.0, max(0.0, 1.2 * sigmoid((logit(uniform) + value) / (2 / 3)) - 0.1))
            for uniform, value in zip(place, values, strict=True)
        )
        for place, values in zip(drawn, logits, strict=True)
    ]
    assert {0.0, 1.0} < {gate for place in gates for gate in place}
    torch.manual_seed(5)
    for (layer, x, output), (lora, bias) in zip(run_recording(model.train()), gates, strict=True):
        assert torch.allclose(output, reference(layer, x, (lora, bias)), rtol=0, atol=1e-9)


def test_the_gradient_of_the_structure_is_that_of_finite_differences(build: Callable[..., Any]) -> None:
    model = build(SEARCH).train()
    _, theta = split_parameters(model, "default")
    inputs = [(layer, x) for layer, x, _ in run_recording(model)]

    def loss() -> Tensor:
        # A whole model's loss is float32 in its norms and softmax; every adapted module by itself is float64.
        torch.manual_seed(9)
        set_gates(decoder_of(model), ())
        return torch.stack([layer(x).sin().sum() for layer, x in inputs]).sum()

    loss().backward()
    for parameter in list(theta.values())[::5]:
        gradient = parameter.grad
        assert gradient is not None
        for place in range(2):
            values = []
            for shift in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter[place] += shift
                    values.append(float(loss()))
                    parameter[place] -= shift
            assert float(gradient[place]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-8)


def test_the_final_form_adds_what_was_kept(build: Callable[..., Any]) -> None:
    model = build(FINAL)
    recorded = run_recording(model)
    assert len(recorded) == 3 * len(ONLY)
    for layer, x, output in recorded:
        assert torch.allclose(output, reference(layer, x, (1.0, 1.0)), rtol=0, atol=1e-10)
    assert not any(module._forward_pre_hooks for module in model.modules())
    # Per layer six LoRA modules and two biases.
    expected = 3 * (RANK * (4 * 64 + 2 * 80) + 2 * 32)
    assert count_parameters(model, "default") == {"trainable": expected, "router": 0, "activation": 0}


def test_discretising_keeps_the_largest_within_the_budget(
    build: Callable[..., Any], tiny_model: Callable[..., PreTrainedModel]
) -> None:
    model = build(SEARCH)
    search_places = 3 * len(ONLY)
    assert count_parameters(model, "default")["activation"] == 2 * search_places
    _, theta = split_parameters(model, "default")
    generator = torch.Generator().manual_seed(12)
    seen = set()
    final: Any = None
    for _ in range(20):
        with torch.no_grad():
            for parameter in theta.values():
                parameter.copy_(torch.randn(2, generator=generator, dtype=torch.float64))
        config = hooks_of(model, "default").discretised(model, "default")
        final = attach_adapter(tiny_model("llama"), config, "kept")
        count = count_parameters(final, "kept")["trainable"]
        # The smallest candidate, a bias of 32, would not fit any more.
        assert BUDGET - 32 < count <= BUDGET
        places = [module for layer in config["layers"] for module in layer["modules"]]
        assert all(module["lora"] or module["bias"] for module in places)
        assert len(places) <= search_places
        assert config["budget"] is None
        largest = max(theta, key=lambda name: float(theta[name].detach().max()))
        kept = [f"{layer['path']}.{module['module']}" for layer in config["layers"] for module in layer["modules"]]
        assert any(f"{path}.milora_ssp" in largest for path in kept)
        seen.add(tuple(kept))
    assert len(seen) > 1
    with pytest.raises(MiloraError, match="search of adapter 'kept' is over") as caught:
        hooks_of(final, "kept").discretised(final, "kept")
    assert caught.value.code == "adapter/unsupported"
    with pytest.raises(MiloraError, match="before the end of its search"):
        hooks_of(model, "default").prune(model, "default")


def test_layers_that_keep_nothing_are_left_out(build: Callable[..., Any]) -> None:
    model = build({**SEARCH, "budget": 300})
    _, theta = split_parameters(model, "default")
    with torch.no_grad():
        for name, parameter in theta.items():
            parameter.copy_(torch.tensor([5.0, 6.0] if "layers.1.mlp.up_proj" in name else [0.0, -1.0]))
    config = hooks_of(model, "default").discretised(model, "default")
    assert [layer["path"] for layer in config["layers"]] == ["model.layers.1"]
    assert [(module["name"], module["lora"], module["bias"]) for module in config["layers"][0]["modules"]] == [
        ("up", True, True)
    ]
    assert config["target_modules"] == ["up_proj"]


@pytest.mark.parametrize("budget", [31, 5473])
def test_an_impossible_budget_is_refused(
    tiny_model: Callable[..., PreTrainedModel], planned: Callable[..., dict[str, Any]], budget: int
) -> None:
    base = tiny_model("llama")
    # Per layer 3 · (4 · 64 + 3 · 80) of LoRA and 4 · 32 + 2 · 48 + 32 of biases.
    total = 3 * (1488 + 256)
    config = planned(base, "MILORA_SSP", only=ONLY, **{**SEARCH, "budget": min(budget, total + 1)})
    with pytest.raises(MiloraError, match=r"budget: found \d+ parameters, but the smallest.* 32 .* 5232") as caught:
        build_config(config)
    assert caught.value.code == "input/invalid-spec"
    assert caught.value.details == {
        "path": "budget",
        "found": str(min(budget, total + 1)),
        "allowed": f"32 to {total}",
    }
    build_config({**config, "budget": total})
    build_config({**config, "budget": 32})


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"r": 0}, "r is 0"),
        ({"lora_alpha": 0}, "lora_alpha is 0; it must be above 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"budget": 1.5}, "budget is 1.5; it must be a whole number of at least 1, or null"),
        ({"places": {"k": {"bias": False}}}, r"layers\[0\] \(model.layers.0\).modules\[1\] must have both"),
        ({"budget": None, "places": {"k": {"lora": False, "bias": False}}}, r"modules\[1\] must have lora or bias"),
        ({"places": {"k": {"lora": 1}}}, r"modules\[1\].lora is 1, which is of another type"),
    ],
)
def test_configs_that_contradict_themselves(
    tiny_model: Callable[..., PreTrainedModel],
    planned: Callable[..., dict[str, Any]],
    changes: dict[str, Any],
    pattern: str,
) -> None:
    config = planned(tiny_model("llama"), "MILORA_SSP", only=ONLY, **{**SEARCH, **changes})
    with pytest.raises(MiloraError, match=pattern) as caught:
        build_config(config)
    assert caught.value.code == "adapter/mismatch"


def test_a_module_outside_the_decoder_is_refused(build: Callable[..., Any]) -> None:
    model = build(SEARCH)
    layer = next(module for module in model.modules() if isinstance(module, SspLinear))
    with pytest.raises(MiloraError, match="outside the decoder's forward pass"):
        layer(torch.ones(1, 1, 32, dtype=torch.float64))
