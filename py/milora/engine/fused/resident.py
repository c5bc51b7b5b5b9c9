"""Adapters as the engine holds them: frozen tensors in the base's dtype, scales folded in, routers beside them.

A resident adapter never changes. A request holds the object itself, so that whatever is loaded or unloaded under the
same name meanwhile changes nothing for it.

Shapes: R rank, I in, O out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor

from milora.engine.fused.sites import Sites, Slot
from milora.engine.plain_lora import beyond_plain, module_scale
from milora.errors import MiloraError
from milora.routing.context import RoutingContext
from milora.routing.override import RouterPlace
from milora.tuners import build_config
from milora.tuners.milora import MiloraConfig, MiloraRouter
from milora.tuners.milora.config import LayerPlan
from milora.tuners.milora.router import RouterSettings
from milora.tuners.milora.weight_norm import row_norms

ROUTER_KEY = "resident"
"""The name that a resident adapter has inside its routers; torch allows fewer names than an engine."""

_PREFIX = "base_model.model."
_SHOWN = 3
_LORA_KEYS = ("lora_A.weight", "lora_B.weight")
_MILORA_KEYS = ("milora_prompt_down", "milora_prompt_up")


@dataclass(frozen=True)
class Expert:
    """A LoRA or DoRA module at its place, its matrices as the products of few rows read them fastest.

    ``down``: Aᵀ, [I, R]; ``up``: Bᵀ, [R, O], times its scale and, for DoRA, m / n. ``rescale``: m / n - 1, [O], for
    DoRA, which the base's output without ``bias`` is multiplied by; float32. ``index``: its place in the gates.
    """

    index: int
    slot: Slot
    down: Tensor
    up: Tensor
    rescale: Tensor | None = None
    bias: Tensor | None = None


@dataclass(frozen=True)
class ResidentLayer:
    """An adapted layer; without a router ``fixed`` tells which experts are active, all with gate 1."""

    experts: tuple[Expert, ...]
    router: MiloraRouter | None
    fixed: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class ResidentAdapter:
    """One version of an adapter; two are the same only if they are one object.

    ``layers``: of every decoder layer, None where nothing is adapted. ``is_finite``: no weight is NaN or infinite.
    """

    name: str
    layers: tuple[ResidentLayer | None, ...]
    num_groups: int
    num_bytes: int
    is_finite: bool

    @property
    def routers(self) -> Iterator[MiloraRouter]:
        """The routers, layer by layer."""
        return (layer.router for layer in self.layers if layer is not None and layer.router is not None)

    @property
    def tensors(self) -> list[Tensor]:
        """All that it holds, in a fixed order."""
        return list(_held(self.layers))


def resident_bytes(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> int:
    """What an adapter's file will take on the device: A and B in the base's dtype, all else in float32."""
    return sum(
        tensor.numel() * (dtype if key.endswith((*_LORA_KEYS, *_MILORA_KEYS)) else torch.float32).itemsize
        for key, tensor in tensors.items()
    )


def read_resident(sites: Sites, name: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> ResidentAdapter:
    """Reads a MiLoRA, MiDoRA, LoRA or DoRA adapter.

    Args:
        sites: The modules of the base that it is for.
        name: Its name.
        config: The fields of its ``adapter_config.json``.
        tensors: Its weights by the keys of its file.

    Raises:
        MiloraError: ``adapter/unsupported`` for another method or other settings than the engine runs,
            ``adapter/mismatch`` for weights that do not fit the config or the base, and for none at all.
    """
    built = build_config(config)
    reader = _Reader(sites, name, dict(tensors))
    if isinstance(built, MiloraConfig):
        layers = _milora_layers(reader, built)
    elif isinstance(built, LoraConfig) and config["peft_type"] == "LORA":
        layers = _lora_layers(reader, config)
    else:
        raise _unsupported(name, f"it is of the type {config.get('peft_type')}", str(config.get("peft_type")))
    reader.finish()
    held = list(_held(layers))
    if not held:
        raise reader.mismatch(["It has no weights."])
    return ResidentAdapter(
        name=name,
        layers=tuple(layers),
        num_groups=sites.num_groups,
        num_bytes=sum(tensor.nbytes for tensor in held),
        is_finite=all(bool(tensor.isfinite().all()) for tensor in held),
    )


class _Reader:
    """Takes tensors by key and keeps book of what is missing, misshapen or left over."""

    def __init__(self, sites: Sites, name: str, tensors: dict[str, Tensor]) -> None:
        self.sites = sites
        self.name = name
        self._left = tensors
        self._problems: list[str] = []

    def has(self, key: str) -> bool:
        return _PREFIX + key in self._left

    def take(self, key: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self._left.pop(_PREFIX + key, None)
        if tensor is None or tuple(tensor.shape) != shape:
            found = "is missing" if tensor is None else f"has the shape {list(tensor.shape)}"
            self._problems.append(f"{key} {found}, expected {list(shape)}.")
            return torch.zeros(shape, device=self.sites.device)
        # A copy: the given tensor may change, or lie in a mapped file at an odd address.
        return tensor.detach().to(self.sites.device, torch.float32, copy=True)

    def expert(
        self, layer: int, module: str, index: int, scale: tuple[int, float], keys: tuple[str, str, str]
    ) -> Expert:
        """The expert of a module; ``scale``: rank and scale, ``keys``: of A, B and m ("": none)."""
        rank, factor = scale
        path = f"{self.sites.layer_paths[layer]}.{module}"
        site = self.sites.layers[layer].get(module)
        if site is None:
            raise self.mismatch([f"The base has no linear module {path} that the engine knows."])
        slot, dtype = site.slot, self.sites.dtype
        out_features = slot.stop - slot.start
        down = self.take(f"{path}.{keys[0]}", (rank, site.in_features))
        up = self.take(f"{path}.{keys[1]}", (out_features, rank))
        if not keys[2]:
            return Expert(index, slot, _laid(down, dtype), _laid(up * factor, dtype))
        ratio = self.take(f"{path}.{keys[2]}", (out_features,)) / row_norms(site.weight(), down, up, factor)
        scaled = up * (factor * ratio).unsqueeze(1)
        return Expert(index, slot, _laid(down, dtype), _laid(scaled, dtype), ratio - 1, site.bias)

    def finish(self) -> None:
        """Raises where anything was amiss."""
        if self._problems:
            raise self.mismatch(self._problems)
        if self._left:
            keys = [key.removeprefix(_PREFIX) for key in sorted(self._left)]
            shown = ", ".join(keys[:_SHOWN])
            raise _unsupported(
                self.name, f"it has weights besides A, B and routers in decoder layers: {shown}", keys[0]
            )

    def mismatch(self, problems: list[str]) -> MiloraError:
        more = f" And {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else ""
        message = f"The adapter {self.name!r} does not fit this model. {' '.join(problems[:_SHOWN])}{more}"
        return MiloraError("adapter/mismatch", message, found=self.name, problems=problems)


def _lora_layers(reader: _Reader, config: dict[str, Any]) -> list[ResidentLayer | None]:
    for field, _ in beyond_plain({**config, "use_dora": False}):
        raise _unsupported(reader.name, f"{field} is {config[field]!r}", field)
    dora = bool(config.get("use_dora"))
    keys = (*_LORA_KEYS, "lora_magnitude_vector" if dora else "")
    layers: list[ResidentLayer | None] = []
    for layer, path in enumerate(reader.sites.layer_paths):
        experts: list[Expert] = []
        for module in reader.sites.layers[layer]:
            if reader.has(f"{path}.{module}.{keys[0]}"):
                scale = module_scale(config, f"{path}.{module}")
                experts.append(reader.expert(layer, module, len(experts), (scale.rank, scale.scale), keys))
        layers.append(ResidentLayer(tuple(experts), None, (True,) * len(experts)) if experts else None)
    return layers


def _milora_layers(reader: _Reader, config: MiloraConfig) -> list[ResidentLayer | None]:
    if config.accumulate == "float32" and reader.sites.dtype != torch.float32:
        raise _unsupported(reader.name, "it adds up in float32 over a base of a smaller dtype", "accumulate")
    magnitude = "milora_prompt_magnitude" if config.expert == "dora" else ""
    keys = (*_MILORA_KEYS, magnitude)
    paths = reader.sites.layer_paths
    if unknown := [plan.path for plan in config.plan if plan.path not in paths]:
        raise reader.mismatch([f"The base has no decoder layer {path}." for path in unknown])
    layers: list[ResidentLayer | None] = [None] * len(paths)
    order = sorted(config.plan, key=lambda plan: paths.index(plan.path))
    for position, plan in enumerate(order):
        layer = paths.index(plan.path)
        experts = tuple(
            reader.expert(layer, expert.module, index, (expert.rank, float(expert.alpha) / expert.rank), keys)
            for index, expert in enumerate(plan.experts)
        )
        router = _router(reader, config, plan, position) if plan.chosen is None else None
        chosen = plan.chosen or ()
        layers[layer] = ResidentLayer(experts, router, tuple(expert.name in chosen for expert in plan.experts))
    return layers


def _router(reader: _Reader, config: MiloraConfig, plan: LayerPlan, position: int) -> MiloraRouter:
    """The tuner's own router with the adapter's weights; it decides, here as there."""
    place = RouterPlace(
        adapter=reader.name,
        position=position,
        num_layers=len(config.plan),
        experts=tuple(expert.name for expert in plan.experts),
        most_experts=max(len(layer.experts) for layer in config.plan),
        known=frozenset(expert.name for layer in config.plan for expert in layer.experts),
    )
    settings = RouterSettings(
        hidden_size=config.hidden_size,
        place=place,
        top_k=config.top_k,
        pooler=config.pooler,
        activation=plan.activation,
        gate=config.gate,
        normalize=config.router_input == "normalized",
    )
    router = MiloraRouter(RoutingContext(), position)
    with torch.random.fork_rng(devices=[]):
        router.update_layer(ROUTER_KEY, settings, torch.empty(0, device=reader.sites.device), inference_mode=True)
    for container in router.adapter_layer_names:
        parameters = getattr(router, container)
        if ROUTER_KEY in parameters:
            parameter = parameters[ROUTER_KEY]
            key = f"{plan.path}.prompt_router.{container}"
            parameter.data = reader.take(key, tuple(parameter.shape))
            parameter.requires_grad_(False)
    return router


def _laid(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    return matrix.t().to(dtype).contiguous()


def _held(layers: Iterable[ResidentLayer | None]) -> Iterator[Tensor]:
    for layer in layers:
        if layer is None:
            continue
        for expert in layer.experts:
            yield from (expert.down, expert.up)
            if expert.rescale is not None:
                yield expert.rescale
        if layer.router is not None:
            yield from layer.router.parameters()


def _unsupported(name: str, reason: str, found: str) -> MiloraError:
    return MiloraError(
        "adapter/unsupported",
        f"The engine can't run the adapter {name!r}: {reason}.",
        found=found,
        allowed="MiLoRA, MiDoRA, LoRA, DoRA",
        hint="generate() runs it through PEFT.",
    )
