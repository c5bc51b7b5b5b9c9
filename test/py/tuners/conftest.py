"""The conformance matrix: every variant of every method, on every family of decoders. A new one is a new row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from milora.checkpoint import attach_adapter
from milora.routing.context import routing_context

FAMILIES = ("llama", "gemma2", "qwen3", "phi3")
# Both spellings: a fused projection is one module.
_SOME = ["q", "qkv", "v", "o", "down"]
_ALL = ["q", "k", "v", "o", "gate", "up", "down", "qkv", "gate_up"]
_FIXED = [["q", "qkv", "down"], ["o"], []]
_LEARNED = {"method": "MILORA_LEARNED_ADAPTER", "only": ["attention", "ffn"], "bottleneck": 6}
_SSP = {"method": "MILORA_SSP", "only": _ALL, "r": 4, "lora_alpha": 6.0, "temperature": 0.5}
_BOTH, _BIAS, _LORA = ({"lora": lora, "bias": bias} for lora, bias in ((True, True), (False, True), (True, False)))
_KEPT = {"q": _BOTH, "qkv": _BOTH, "k": _BIAS, "o": _BIAS, "gate": _BOTH, "gate_up": _BIAS}

VARIANTS: dict[str, dict[str, Any]] = {
    "milora": {},
    "average": {"pooler": "average"},
    "max": {"pooler": "max"},
    "last-token": {"pooler": "last-token"},
    "gelu": {"activation": "gelu"},
    "relu": {"activation": "relu"},
    "by-layer": {"activation": ["relu", "rational", "gelu"]},
    "probability": {"gate": "probability"},
    "no-gate": {"gate": "none"},
    "k1": {"top_k": 1},
    "k3": {"top_k": 3},
    "k7": {"top_k": 7},
    "k7-no-gate": {"top_k": 7, "gate": "none"},
    "raw": {"router_input": "raw", "pooler": "last-token"},
    "some-modules": {"only": _SOME},
    "ranks": {"rank": {"q": 2, "qkv": 2, "down": 6, "o": 1}},
    "float32": {"accumulate": "float32"},
    "midora": {"expert": "dora"},
    "midora-float32": {"expert": "dora", "accumulate": "float32", "gate": "none"},
    "fixed": {"chosen": _FIXED},
    "all": {"chosen": "all"},
    "midora-fixed": {"expert": "dora", "chosen": _FIXED},
    "lora": {"method": "lora"},
    "dora": {"method": "lora", "use_dora": True},
    "adalora": {"method": "adalora"},
    "bitfit": {"method": "MILORA_BITFIT", "only": _ALL, "vector": 8},
    "ia3": {"method": "MILORA_IA3", "only": ["q", "k", "up", "qkv", "gate_up"], "vector": 8},
    "moelora": {"method": "MILORA_MOELORA", "only": _ALL, "r": 8, "lora_alpha": 8.0, "experts": 4, "top_k": 2},
    "parallel-adapter": {
        "method": "MILORA_PARALLEL_ADAPTER",
        "only": ["attention", "ffn"],
        "bottleneck": 6,
        "scale": 4.0,
    },
    "learned-search": {**_LEARNED, "place": {"architecture": None}},
    "learned-final": {
        **_LEARNED,
        "place": {"architecture": "parallel-rational"},
        "places": {"attention": {"architecture": "sequential-silu"}},
    },
    "p-tuning-v2": {"method": "MILORA_P_TUNING_V2", "only": ["attention"], "tokens": 5, "embedding": 6},
    "iapt": {"method": "MILORA_IAPT", "only": ["attention"], "tokens": 3, "bottleneck": 6},
    "ssp-search": {**_SSP, "budget": 2800, "place": _BOTH},
    "ssp-final": {**_SSP, "budget": None, "place": _LORA, "places": _KEPT},
}
"""Changes of ``milora_plan``; ``method`` names another plan: ``lora``, or the type of a method of ours."""

_SECOND = {
    "lora": {"rank": 2},
    "adalora": {"init_r": 3},
    "MILORA_BITFIT": {"vector": 4},
    "MILORA_IA3": {"vector": 4},
    "MILORA_MOELORA": {"r": 4, "experts": 2, "top_k": 1},
    "MILORA_PARALLEL_ADAPTER": {"bottleneck": 3},
    "MILORA_P_TUNING_V2": {"tokens": 2, "embedding": 3},
    "MILORA_IAPT": {"tokens": 2, "bottleneck": 4},
    "MILORA_LEARNED_ADAPTER": {"bottleneck": 3},
    "MILORA_SSP": {"r": 2},
}
"""Settings of another adapter of the same method, for two in one model."""

# A variant's file and config go through every door as any other's do; these have all the kinds of tensors and fields.
_DOORS = [
    *(f"milora-{family}" for family in FAMILIES),
    *("by-layer-qwen3", "average-llama", "no-gate-gemma2", "ranks-phi3", "some-modules-llama"),
    *("midora-llama", "midora-phi3", "fixed-llama", "midora-fixed-gemma2", "all-qwen3", "lora-llama"),
    *("bitfit-llama", "bitfit-phi3", "dora-llama", "adalora-qwen3"),
    *("ia3-qwen3", "moelora-gemma2", "parallel-adapter-llama"),
    *("p-tuning-v2-phi3", "iapt-llama"),
    *("learned-search-qwen3", "learned-final-llama"),
    *("ssp-search-llama", "ssp-final-qwen3"),
]


def _gates(layer: Any) -> dict[str, Tensor]:
    return getattr(layer, "gates", {})


@dataclass(frozen=True)
class Case:
    """A variant on a family: how to make the base, its plan, and a model with a moved adapter."""

    name: str
    variant: str
    family: str
    make_base: Callable[[str], Any]
    plans: dict[str, Callable[..., dict[str, Any]]]
    randomize: Callable[..., None]

    @property
    def settings(self) -> dict[str, Any]:
        return VARIANTS[self.variant]

    @property
    def routed(self) -> bool:
        return "method" not in self.settings

    @property
    def second(self) -> dict[str, Any]:
        """Settings of another adapter of the same method."""
        routed = {"rank": 2, "top_k": 1, "gate": "probability", "pooler": "average"}
        return routed if self.routed else _SECOND[self.settings["method"]]

    @property
    def learned(self) -> bool:
        return self.routed and "chosen" not in self.settings

    @property
    def learns_activation(self) -> bool:
        """There is something to train on D_val."""
        if self.searches or self.settings.get("place") == {"architecture": None}:
            return True
        return self.learned and self.settings.get("activation", "rational") not in ("gelu", "relu")

    @property
    def searches(self) -> bool:
        """Candidates are behind gates that are drawn anew in each forward pass of training."""
        return self.settings.get("budget") is not None

    def closed(self, model: Any) -> set[str]:
        """Names of the parameters behind gates that the last forward pass of a search drew as 0."""
        gates = {path: layer.gates["default"] for path, layer in model.named_modules() if "default" in _gates(layer)}
        return {
            f"{path}.milora_ssp_{parameter}.default"
            for path, (lora, bias) in gates.items()
            for parameter, gate in (("down", lora), ("up", lora), ("bias", bias))
            if gate == 0
        }

    @property
    def num_experts(self) -> int:
        """Experts of each layer."""
        return len(self.plans["milora"](self.base(), only=self.settings.get("only"))["layers"][0]["experts"])

    def base(self) -> Any:
        return self.make_base(self.family)

    def plan(self, base: Any, **changes: Any) -> dict[str, Any]:
        settings = {**self.settings, **changes}
        method = settings.pop("method", "milora")
        if method == "lora":
            return self.plans["lora"](base, **settings)
        if method == "adalora":
            return self.plans["adalora"](base, **settings)
        if method != "milora":
            return self.plans["planned"](base, method, **settings)
        config = self.plans["milora"](base, **settings)
        for layer in config["layers"]:
            names = [expert["name"] for expert in layer["experts"]]
            config["top_k"] = min(config["top_k"], len(names))
            if layer["chosen"] is not None:
                layer["chosen"] = [name for name in layer["chosen"] if name in names]
        return config

    def model(self, seed: int = 0, **changes: Any) -> Any:
        base = self.base()
        model = attach_adapter(base, self.plan(base, **changes), "default", seed=seed)
        self.randomize(model, "default", seed=seed)
        return model.eval()


@pytest.fixture
def make_case(
    tiny_model: Callable[..., Any],
    milora_plan: Callable[..., dict[str, Any]],
    lora_plan: Callable[..., dict[str, Any]],
    adalora_plan: Callable[..., dict[str, Any]],
    planned: Callable[..., dict[str, Any]],
    randomize: Callable[..., None],
) -> Callable[[str], Case]:
    """``make_case("midora-llama")``: a row of the matrix by name."""

    def make(name: str) -> Case:
        variant, _, family = name.rpartition("-")
        plans = {"milora": milora_plan, "lora": lora_plan, "adalora": adalora_plan, "planned": planned}
        return Case(name, variant, family, tiny_model, plans, randomize)

    return make


@pytest.fixture(params=[f"{variant}-{family}" for variant in VARIANTS for family in FAMILIES])
def case(request: pytest.FixtureRequest, make_case: Callable[[str], Case]) -> Case:
    """Each row of the matrix."""
    return make_case(request.param)


@pytest.fixture(scope="session")
def door_names() -> list[str]:
    """The rows that go through the doors of fresh processes."""
    return _DOORS


@pytest.fixture(params=_DOORS)
def door_case(request: pytest.FixtureRequest, make_case: Callable[[str], Case]) -> Case:
    """Each row that goes through the doors of fresh processes."""
    return make_case(request.param)


@pytest.fixture
def record_gates() -> Callable[..., Tensor]:
    """``record_gates(model, **inputs)``: the gates of a forward pass, [prompts, layers, experts]."""

    def record(model: Any, **inputs: Tensor) -> Tensor:
        context = routing_context(model)
        assert context is not None
        with torch.no_grad(), context.record() as found:
            model(**inputs, use_cache=False)
        return found.gates

    return record
