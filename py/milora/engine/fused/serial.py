"""Decoders that the fused engine doesn't know: each row by itself through transformers' forward pass.

Slower, and the same in all else: hooks on the linear modules add what the fused products add, and nothing is padded.

Shapes: N tokens, D hidden size, R rows, V vocabulary.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from milora.engine.attention import long_attention
from milora.engine.fused.plan import PlanCompiler
from milora.engine.fused.projections import LayerUpdates, UpdatesOf
from milora.engine.fused.prompt_routing import PromptRouting
from milora.engine.fused.running import RunningRequest
from milora.engine.fused.sites import Site, Sites, Slot
from milora.engine.requests import routing_override
from milora.errors import MiloraError
from milora.models import decoder_layers, logits_at
from milora.tuners.milora.weight_norm import base_weight

WithoutAdapters = Callable[[], contextlib.AbstractContextManager[object]]
"""Makes a context in which no adapter of the model itself is active."""


class SerialBatch:
    """Requests whose rows run one after another, each on a KV cache of its own."""

    def __init__(self, model: PreTrainedModel, without_adapters: WithoutAdapters) -> None:
        self._model = model
        self._without_adapters = without_adapters
        path, self._layers = decoder_layers(model)
        self._modules = [dict(_linear_modules(layer)) for layer in self._layers]
        self.sites = _read_sites(model, path, self._modules)
        self._compiler = PlanCompiler(self.sites)
        self._caches: dict[RunningRequest, list[Any]] = {}
        self._plans: dict[RunningRequest, list[LayerUpdates] | None] = {}
        self.running: list[RunningRequest] = []
        self.num_rows = 0
        self.num_cache_growths = 0

    @property
    def num_cache_bytes(self) -> int:
        """Memory of all rows' KV caches."""
        layers = [layer for caches in self._caches.values() for cache in caches for layer in cache.layers]
        return sum(tensor.nbytes for layer in layers for tensor in (layer.keys, layer.values) if tensor is not None)

    def join(self, joining: Sequence[RunningRequest]) -> Tensor:
        """Computes the prompts one after another; gives one row of logits for each."""
        logits: list[Tensor] = []
        for one in joining:
            ids = one.request.prompt_ids
            routing = None
            if one.adapter is not None:
                routing = PromptRouting(one.adapter, [len(ids)], routing_override([one.request]))
            with long_attention(self._model, len(ids)):
                prompt_logits, cache = self._forward(ids, None, None if routing is None else routing.updates)
            logits.append(prompt_logits)
            one.decision = None if routing is None else routing.decisions()[0]
            one.position = len(ids)
            # Caches of beams part as soon as their tokens do.
            self._caches[one] = [cache, *(copy.deepcopy(cache) for _ in range(one.search.num_rows - 1))]
            self._plans[one] = self._compiler.compile([one.decision])
            self.running.append(one)
        self._number_rows()
        return torch.cat(logits)

    def decode(self) -> Tensor:
        """One token of every row; gives the next token's logits, [R, V]."""
        logits: list[Tensor] = []
        for one in self.running:
            plan = self._plans[one]
            updates_of = None if plan is None else functools.partial(_planned, plan)
            for cache, token in zip(self._caches[one], one.next_ids, strict=True):
                logits.append(self._forward([token], cache, updates_of)[0])
            one.position += 1
        return torch.cat(logits)

    def reorder(self, one: RunningRequest, sources: Sequence[int]) -> None:
        """Makes a request's rows go on from others of its rows."""
        caches = self._caches[one]
        free = set(sources)
        taken: list[Any] = []
        for source in sources:
            # The first row that goes on from a cache keeps it.
            taken.append(caches[source] if source in free else copy.deepcopy(caches[source]))
            free.discard(source)
        self._caches[one] = taken

    def leave(self, leaving: Sequence[RunningRequest], *, spoiled: bool = False) -> None:
        """Takes requests out with their caches."""
        for one in leaving:
            del self._caches[one], self._plans[one]
        self.running = [one for one in self.running if one not in leaving]
        self._number_rows()

    def clear(self) -> None:
        """Forgets all requests with their caches."""
        self._caches, self._plans = {}, {}
        self.running = []
        self.num_rows = 0
        self._compiler.clear()

    def _number_rows(self) -> None:
        self.num_rows = 0
        for one in self.running:
            one.rows = list(range(self.num_rows, self.num_rows + one.search.num_rows))
            self.num_rows += one.search.num_rows

    def _forward(self, ids: Sequence[int], cache: Any, updates_of: UpdatesOf | None) -> tuple[Tensor, Any]:
        """Logits behind the last of some tokens, [1, V], and the cache that holds them too."""
        device = self.sites.device
        last = torch.tensor([len(ids) - 1], device=device)
        inputs = {"input_ids": torch.tensor([list(ids)], device=device), "past_key_values": cache, "use_cache": True}
        with self._without_adapters(), self._updated(updates_of):
            logits, filled = logits_at(self._model, last, **inputs)
        if filled is None:
            raise MiloraError(
                "model/unsupported",
                f"{type(self._model).__name__} keeps no KV cache of transformers', without which no text can go on.",
                found=type(self._model).__name__,
            )
        return logits, filled

    @contextlib.contextmanager
    def _updated(self, updates_of: UpdatesOf | None) -> Iterator[None]:
        """Inside, the linear modules' outputs are changed as the updates say."""
        handles: list[Any] = []
        if updates_of is not None:
            for index, (layer, modules) in enumerate(zip(self._layers, self._modules, strict=True)):
                current: list[LayerUpdates] = []
                enter = functools.partial(_enter_layer, updates_of, index, current)
                handles.append(layer.register_forward_pre_hook(enter, with_kwargs=True))
                for name, module in modules.items():
                    group = self.sites.layers[index][name].slot.group
                    handles.append(module.register_forward_hook(functools.partial(_update_output, current, group)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _planned(plan: list[LayerUpdates], index: int, _hidden_ND: Tensor) -> LayerUpdates:
    return plan[index]


def _enter_layer(
    updates_of: UpdatesOf, index: int, current: list[LayerUpdates], _layer: nn.Module, args: Any, kwargs: Any
) -> None:
    hidden: Tensor = args[0] if args else kwargs["hidden_states"]
    current[:] = [updates_of(index, hidden.reshape(-1, hidden.shape[-1]))]


def _update_output(current: list[LayerUpdates], group: int, _module: nn.Module, args: Any, output: Tensor) -> Tensor:
    update = current[0][group]
    if update is None:
        return output
    inputs: Tensor = args[0]
    changed = update.apply(inputs.reshape(-1, inputs.shape[-1]), output.reshape(-1, output.shape[-1]).contiguous())
    return changed.view(output.shape)


def _linear_modules(layer: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """A layer's linear modules below whatever PEFT has put around them, by their own paths."""
    tuners = [name for name, module in layer.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, module in layer.named_modules():
        inside = next((tuner for tuner in tuners if name == tuner or name.startswith(f"{tuner}.")), None)
        if inside is not None and name != f"{inside}.base_layer":
            continue
        if hasattr(module, "in_features") and hasattr(module, "out_features"):
            yield (name if inside is None else inside), module


def _read_sites(model: PreTrainedModel, path: str, modules: Sequence[dict[str, nn.Module]]) -> Sites:
    """Every linear module is a group of its own."""
    if any(isinstance(module, BaseTunerLayer) and module.merged for module in model.modules()):
        raise MiloraError("model/unsupported", "An adapter is merged into the model's weights.", found="merged")
    names = list(dict.fromkeys(name for layer in modules for name in layer))
    embedding: Any = model.get_input_embeddings()
    return Sites(
        layer_paths=tuple(f"{path}.{index}" for index in range(len(modules))),
        layers=tuple(
            {name: _read_site(module, names.index(name)) for name, module in layer.items()} for layer in modules
        ),
        num_groups=len(names),
        vocabulary=int(embedding.weight.shape[0]),
        dtype=model.dtype,
        device=model.device,
    )


def _read_site(module: Any, group: int) -> Site:
    slot = Slot(group, 0, int(module.out_features))
    return Site(slot, int(module.in_features), functools.partial(base_weight, module), getattr(module, "bias", None))
