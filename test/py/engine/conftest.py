"""Tiny random decoders of every family that the fused engine knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from milora.checkpoint import attach_adapter
from milora.checkpoint.adapter import adapter_tensors
from milora.engine.fused import Engine, EngineEvent, EngineLimits, EngineRequest, FinishedEvent

VOCABULARY = 96

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_GEMMA: dict[str, Any] = {**_SIZES, "head_dim": 16, "query_pre_attn_scalar": 8, "sliding_window": 6}
_PARTIAL = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}

_BUILDERS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_SIZES, attention_bias=True, mlp_bias=True)),
    "llama3-tied": lambda: LlamaForCausalLM(
        LlamaConfig(**{**_SIZES, "tie_word_embeddings": True}, rope_parameters=_LLAMA3)
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**_SIZES, sliding_window=6)),
    "qwen2": lambda: Qwen2ForCausalLM(
        Qwen2Config(**_SIZES, use_sliding_window=True, sliding_window=6, max_window_layers=1)
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_SIZES, head_dim=16)),
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(**_GEMMA, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)
    ),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **_GEMMA,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            final_logit_softcapping=3.0,
        )
    ),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**_SIZES, sliding_window=9, rope_parameters=_PARTIAL)),
}

FAMILIES = tuple(_BUILDERS)


def build_decoder(family: str, seed: int = 0) -> PreTrainedModel:
    """A random model of three layers, frozen, in evaluation mode, float32; no parameter is left at a fixed start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _BUILDERS[family]()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" in name or name.endswith("bias"):
                    parameter.add_(0.2 * torch.randn_like(parameter))
    model.generation_config.pad_token_id = 0
    return model.requires_grad_(False).eval()


@dataclass(frozen=True)
class Tenant:
    """An adapter on a model of its own, for reference, and as its file would hold it."""

    model: PeftModel
    config: dict[str, Any]
    tensors: dict[str, Tensor]


_PLANS: dict[str, dict[str, Any]] = {
    "milora": {"top_k": 3},
    "milora-one": {"top_k": 1, "alpha": 7.0, "rank": {"q": 2, "v": 3, "up": 5, "qkv": 6}, "pooler": "average"},
    "milora-some": {"top_k": 2, "only": ["q", "v", "down", "qkv"], "gate": "none", "activation": "relu"},
    "midora": {"top_k": 3, "expert": "dora", "pooler": "max", "alpha": 6.0},
    "fixed": {"chosen": "all"},
    "attention": {"top_k": 2, "only": ["q", "k", "v", "o"]},
}
_LORAS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 6, "lora_alpha": 3.0, "rank_pattern": {"down_proj": 3}, "alpha_pattern": {"o_proj": 5}},
    "dora": {"use_dora": True, "use_rslora": True},
}
TENANTS = (*_PLANS, *_LORAS)


@pytest.fixture
def make_tenant(
    milora_plan: Callable[..., dict[str, Any]],
    lora_plan: Callable[..., dict[str, Any]],
    randomize: Callable[..., None],
) -> Callable[..., Tenant]:
    """``make_tenant("midora", build_decoder("llama"), seed=3)``: an adapter of a kind of ``TENANTS``."""

    def make(kind: str, model: PreTrainedModel, seed: int = 0) -> Tenant:
        plan = milora_plan(model, **_PLANS[kind]) if kind in _PLANS else lora_plan(model, **_LORAS[kind])
        adapted = attach_adapter(model, plan, "tenant", seed=seed, trainable=False)
        randomize(adapted, "tenant", seed=seed)
        adapted.eval()
        tensors = {key: tensor.detach().clone() for key, tensor in adapter_tensors(adapted, "tenant").items()}
        return Tenant(adapted, plan, tensors)

    return make


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return request.param


@pytest.fixture
def decoder_model() -> Callable[..., PreTrainedModel]:
    """:func:`build_decoder`: ``decoder_model("llama", seed=0)``."""
    return build_decoder


def _fails_at(turn: int, original: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    calls = 0

    def fail(*args: Any, **inputs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == turn:
            raise error
        return original(*args, **inputs)

    return fail


@pytest.fixture
def fails_at() -> Callable[..., Callable[..., Any]]:
    """``fails_at(2, function, error)``: the function, but its second call raises."""
    return _fails_at


_LIMITS = EngineLimits(max_rows=12, max_cells=4096, prefill_tokens=64, context_length=200)
_KINDS = ("milora", "milora-one", "milora-some", "midora", "fixed", "lora", "dora")
_MOST_STEPS = 400


@dataclass(frozen=True)
class World:
    """An engine's model with tenants, and each tenant on a model of its own."""

    model: PreTrainedModel
    tenants: dict[str, Tenant]

    def engine(
        self,
        limits: EngineLimits = _LIMITS,
        decode: Callable[[Sequence[int]], str] | None = None,
        *,
        compiled: bool = False,
    ) -> Engine:
        """A new engine with all tenants."""
        engine = Engine(self.model, limits, decode, compiled=compiled)
        for name, tenant in self.tenants.items():
            engine.load(name, tenant.config, tenant.tensors)
        return engine

    @staticmethod
    def drain(engine: Engine, steps: int = 3) -> list[EngineEvent]:
        """All events until nothing is left to do."""
        events: list[EngineEvent] = []
        for _ in range(_MOST_STEPS):
            if engine.is_idle:
                return events
            events += engine.step(steps)
        raise AssertionError("the engine does not come to an end")

    @staticmethod
    def ends(events: Sequence[EngineEvent]) -> dict[int, FinishedEvent]:
        """The ends among events, by request."""
        return {event.request: event for event in events if isinstance(event, FinishedEvent)}

    def alone(self, engine: Engine, request: EngineRequest) -> FinishedEvent:
        """The end of a request that has an engine for itself."""
        number = engine.submit(request)
        return self.ends(self.drain(engine))[number]


@pytest.fixture
def make_world() -> type[World]:
    """``make_world(model, tenants)``."""
    return World


_worlds: list[World] = []


@pytest.fixture
def world(make_tenant: Callable[..., Tenant]) -> World:
    """A Llama with a tenant of each kind; made once, since engines change nothing of it."""
    if not _worlds:
        tenants = {kind: make_tenant(kind, build_decoder("llama"), seed=index) for index, kind in enumerate(_KINDS)}
        _worlds.append(World(build_decoder("llama"), tenants))
    return _worlds[0]
