"""The plan of a MiLoRA adapter for a model in memory: the Python twin of ``ts/methods/routed.ts``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from milora.errors import MiloraError
from milora.models import decoder_layers
from milora.routing.activation import ActivationName
from milora.routing.gates import Gate
from milora.routing.pooler import PoolerName
from milora.tuners.build import build_config
from milora.tuners.milora import PEFT_TYPE_NAME
from milora.tuners.milora.config import FORMAT_VERSION, Accumulate, ExpertKind

Activation = ActivationName | Sequence[tuple[float, ActivationName]]
"""One activation for all layers, or (share of the layers reached, activation) in rising order; the last share is 1."""

Policy = Literal["learned", "all"] | Mapping[str, Sequence[str]]
"""The routers, every expert, or a table: layers (``"3"``, ``"0-9"``) → experts that are always active there."""

_Experts = dict[str, tuple[str, nn.Linear]]
"""Name → path inside the layer and module, in the order of the router's outputs."""

_ROLES = {
    "q_proj": "q",
    "k_proj": "k",
    "v_proj": "v",
    "o_proj": "o",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
    "qkv_proj": "qkv",
    "gate_up_proj": "gate_up",
}
_LAYOUTS = (("q", "k", "v", "o", "gate", "up", "down"), ("qkv", "o", "gate_up", "down"))


def plan(
    model: PreTrainedModel | PeftModel,
    *,
    rank: int = 32,
    alpha: float | None = None,
    top_k: int = 3,
    modules: Sequence[str] | None = None,
    module_names: Mapping[str, str] | None = None,
    ranks: Mapping[str, int] | None = None,
    dropout: float = 0,
    expert: ExpertKind = "lora",
    pooler: PoolerName = "self-attention",
    activation: Activation = "rational",
    gate: Gate = "scaled",
    router_input: Literal["normalized", "raw"] = "normalized",
    policy: Policy = "learned",
    accumulate: Accumulate = "base",
) -> dict[str, Any]:
    """Plans a new adapter: the fields of its ``adapter_config.json``, as the TypeScript side plans them.

    Args:
        model: A causal language model; only its modules' names and sizes are looked at.
        rank: Columns of A.
        alpha: The update's scale is alpha / rank; by default each module's rank.
        top_k: Experts active in a layer.
        modules: Which modules of a layer are adapted (q k v o gate up down; qkv gate_up where fused); by default all.
        module_names: For a decoder that is not known: expert name → path of the linear module inside a layer.
        ranks: Ranks of single modules by expert name; ``rank`` for all others.
        dropout: Dropout on the adapter's input, 0 to 0.9.
        expert: ``lora`` (MiLoRA) or ``dora`` (MiDoRA).
        pooler: How a prompt's hidden states become one vector.
        activation: g of the router; see :data:`Activation`.
        gate: What scales an active expert.
        router_input: Hidden states RMS-normalised before pooling, or as they are.
        policy: Who decides which experts are active; see :data:`Policy`.
        accumulate: Dtype in which base and adapter output are added.

    Raises:
        MiloraError: ``model/unsupported`` where the roles do not fit the model's linear modules,
            ``input/unknown-name`` for a module or expert that is not there, ``input/invalid-spec`` for ``top_k``, the
            activations or the table's layers, ``adapter/mismatch`` for any other value that is not allowed.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(base, PreTrainedModel)
    layers = _selected(_layers(base, module_names), modules)
    _check_top_k(layers, top_k)
    paths = [module for experts in layers.values() for module, _ in experts.values()]
    config: dict[str, Any] = {
        "peft_type": PEFT_TYPE_NAME,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": _location(base),
        "inference_mode": True,
        "format_version": FORMAT_VERSION,
        "requires": "milora",
        "expert": expert,
        "policy": "learned" if policy == "learned" else "fixed",
        "r": rank,
        "lora_alpha": rank if alpha is None else alpha,
        "lora_dropout": dropout,
        "target_modules": list(dict.fromkeys(path.rpartition(".")[2] for path in paths)),
        "top_k": top_k,
        "pooler": pooler,
        "gate": gate,
        "router_input": router_input,
        "accumulate": accumulate,
        "hidden_size": int(base.config.hidden_size),
        "layers": _planned_layers(layers, _activations(activation, len(layers)), _table(policy, layers)),
    }
    for layer in config["layers"]:
        for planned in layer["experts"]:
            own = (ranks or {}).get(planned["name"], rank)
            planned |= {"rank": own, "alpha": own if alpha is None else alpha}
    build_config(config)
    return config


def _planned_layers(
    layers: dict[str, _Experts], activations: list[ActivationName], table: list[list[str] | None]
) -> list[dict[str, Any]]:
    """The layers of the config; their experts have no rank and alpha yet."""
    return [
        {
            "path": path,
            "activation": activations[index],
            "chosen": table[index],
            "experts": [
                {
                    "name": name,
                    "module": module,
                    "in_features": linear.in_features,
                    "out_features": linear.out_features,
                }
                for name, (module, linear) in experts.items()
            ],
        }
        for index, (path, experts) in enumerate(layers.items())
    ]


def _location(model: nn.Module) -> str:
    """What ``from_pretrained`` takes: a hub id, or an absolute folder."""
    name = str(getattr(model, "name_or_path", "") or "")
    return str(Path(name).resolve()) if name and Path(name).is_dir() else name


def _layers(model: PreTrainedModel, module_names: Mapping[str, str] | None) -> dict[str, _Experts]:
    path, decoder = decoder_layers(model)
    linears = {f"{path}.{index}": _linears(layer) for index, layer in enumerate(decoder)}
    known = list(dict.fromkeys(name for layer in linears.values() for name in layer))
    for name, module in (module_names or {}).items():
        if module not in known:
            raise MiloraError(
                "input/unknown-name",
                f"module_names[{name!r}]: no layer has a linear module {module!r}. They have {', '.join(known)}.",
                found=module,
                allowed=", ".join(known),
            )
    return {where: _experts(where, layer, module_names, known) for where, layer in linears.items()}


def _linears(layer: nn.Module) -> dict[str, nn.Linear]:
    """A layer's linear modules by their path, below the adapters that may sit on them."""
    found: dict[str, nn.Linear] = {}
    wrapped: list[str] = []
    for name, module in layer.named_modules():
        if any(name.startswith(f"{path}.") for path in wrapped):
            continue
        if isinstance(module, BaseTunerLayer):
            wrapped.append(name)
            module = module.get_base_layer() if hasattr(module, "base_layer") else module
        if isinstance(module, nn.Linear):
            found[name] = module
    return found


def _experts(
    where: str, linears: dict[str, nn.Linear], module_names: Mapping[str, str] | None, known: list[str]
) -> _Experts:
    experts: _Experts = {}
    if module_names is None:
        named = {_ROLES[last]: path for path in linears if (last := path.rpartition(".")[2]) in _ROLES}
        roles = [_ROLES[last] for path in linears if (last := path.rpartition(".")[2]) in _ROLES]
        layout = next((wanted for wanted in _LAYOUTS if sorted(wanted) == sorted(roles)), ())
        experts = {role: (named[role], linears[named[role]]) for role in layout}
    else:
        experts = {name: (path, linears[path]) for name, path in module_names.items() if path in linears}
    if not experts:
        raise MiloraError(
            "model/unsupported",
            f"The linear modules of {where} don't fit the roles q k v o gate up down. Name the ones to adapt in "
            f"module_names, such as {{'q': 'self_attn.q_proj'}}. Linear modules of a layer: {', '.join(known)}.",
            found=", ".join(known),
            allowed="q k v o gate up down",
        )
    return experts


def _selected(layers: dict[str, _Experts], wanted: Sequence[str] | None) -> dict[str, _Experts]:
    if wanted is None:
        return layers
    known = list(dict.fromkeys(name for experts in layers.values() for name in experts))
    for name in wanted:
        if name not in known:
            raise _unknown("modules", "module", name, known)
    kept = {
        path: {name: found for name, found in experts.items() if name in wanted} for path, experts in layers.items()
    }
    return {path: experts for path, experts in kept.items() if experts}


def _check_top_k(layers: dict[str, _Experts], top_k: int) -> None:
    if not layers:
        raise MiloraError("input/invalid-spec", "modules is empty; name at least one module.", path="modules")
    fewest = min(len(experts) for experts in layers.values())
    if not 1 <= top_k <= fewest:
        raise MiloraError(
            "input/invalid-spec",
            f"top_k: found {top_k}, but a layer of the model has {fewest} adapted modules; allowed 1 to {fewest}.",
            path="top_k",
            found=str(top_k),
            allowed=f"1 to {fewest}",
        )


def _activations(activation: Activation, num_layers: int) -> list[ActivationName]:
    if isinstance(activation, str):
        return [activation] * num_layers
    shares = [share for share, _ in activation]
    rising = all(before < after for before, after in zip([0.0, *shares], shares, strict=False))
    if not shares or not rising or shares[-1] != 1:
        raise MiloraError(
            "input/invalid-spec",
            f"activation: found shares {shares}; allowed are rising shares of the layers that end with 1.",
            path="activation",
            allowed="rising shares that end with 1",
        )
    return [
        next(name for share, name in activation if (layer + 1) / num_layers <= share + 1e-9)
        for layer in range(num_layers)
    ]


def _table(policy: Policy, layers: dict[str, _Experts]) -> list[list[str] | None]:
    names = [list(experts) for experts in layers.values()]
    if policy == "learned":
        return [None for _ in names]
    if policy == "all":
        return [*names]
    if not isinstance(policy, Mapping):
        raise MiloraError(
            "input/invalid-spec", f"policy: found {policy!r}; allowed: learned, all, or a table.", path="policy"
        )
    chosen: dict[int, Sequence[str]] = {}
    for span, experts in policy.items():
        for layer in _span(span, len(names)):
            if layer in chosen:
                raise MiloraError("input/invalid-spec", f"policy names layer {layer} twice.", path=f"policy.{span}")
            for name in experts:
                if name not in names[layer]:
                    raise _unknown(f"policy.{span}", f"expert of layer {layer}", name, names[layer])
            chosen[layer] = experts
    return [[name for name in found if name in chosen.get(layer, ())] for layer, found in enumerate(names)]


def _span(span: str, num_layers: int) -> range:
    first, _, last = span.partition("-")
    valid = first.isdecimal() and (last.isdecimal() or last == "") and not span.endswith("-")
    if not valid or not int(first) <= int(last or first) < num_layers:
        raise MiloraError(
            "input/invalid-spec",
            f"policy[{span!r}]: the model has layers 0 to {num_layers - 1}; name them as '3' or '0-9'.",
            path=f"policy.{span}",
            found=span,
            allowed=f"0 to {num_layers - 1}",
        )
    return range(int(first), int(last or first) + 1)


def _unknown(path: str, what: str, name: str, known: list[str]) -> MiloraError:
    message = f"Unknown {what} {name!r}; the model has {', '.join(known)}."
    return MiloraError("input/unknown-name", message, path=path, found=name, allowed=", ".join(known))
