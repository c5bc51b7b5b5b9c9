"""The routing context of a model: knows where the prompt is, hands records out.

It is a plain object on the causal language model, called by one pre-hook and one post-hook of that model. Hooks are
bound methods, so a deep copy of the model gets a context of its own.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from milora.errors import MiloraError
from milora.routing.hooks import cache_length, find_cache, in_backward, remove_hooks
from milora.routing.override import NamesByRow, RoutingOverride, make_override
from milora.routing.prompt import ForwardInputs, explicit_prompt, generation_prompt, inferred_prompt
from milora.routing.record import RoutingRecord

CONTEXT_ATTRIBUTE = "milora_routing_context"


class RoutingContext:
    """Where the prompt of a forward pass is, and who listens to its routing.

    The prompt is, in this order: what :meth:`prompt` marks; inside ``generate`` the call's prompt; the tokens with
    label -100; all tokens of the attention mask. Not safe for several threads at once. With gradient checkpointing,
    run the backward pass of a forward pass before the next forward pass.
    """

    def __init__(self) -> None:
        self._inputs: ForwardInputs | None = None
        self._explicit: Tensor | None = None
        self._generation: Tensor | None = None
        self._continues_earlier_prompt = False
        self._override: RoutingOverride | None = None
        self._last_override: RoutingOverride | None = None
        self._last_mask: Tensor | None = None
        self._record: RoutingRecord | None = None

    def __reduce__(self) -> tuple[type[RoutingContext], tuple[()]]:
        """A copy starts fresh: what is held belongs to a call in progress on the original."""
        return (RoutingContext, ())

    @contextlib.contextmanager
    def prompt(self, prompt_mask: Tensor) -> Iterator[None]:
        """Marks the prompt of the forward passes inside: booleans, [rows, tokens], False at padding and answer."""
        previous, self._explicit = self._explicit, prompt_mask
        try:
            yield
        finally:
            self._explicit = previous

    @contextlib.contextmanager
    def generation(self, prompt_mask: Tensor, continues_earlier_prompt: bool = False) -> Iterator[None]:
        """Marks the prompts of a ``generate`` call: booleans, [prompts, prompt tokens], before beams.

        Args:
            prompt_mask: True at the prompts' tokens.
            continues_earlier_prompt: The call was given a KV cache that an earlier prompt filled.
        """
        previous = self._generation, self._continues_earlier_prompt
        self._generation, self._continues_earlier_prompt = prompt_mask, continues_earlier_prompt
        try:
            yield
        finally:
            self._generation, self._continues_earlier_prompt = previous

    @contextlib.contextmanager
    def override(
        self,
        *,
        top_k: Tensor | Sequence[int | None] | None = None,
        allowed: Tensor | NamesByRow | None = None,
        decision: Tensor | None = None,
    ) -> Iterator[None]:
        """Overrides the routers for the prompts of the forward passes and ``generate`` calls inside.

        A row is a prompt; a ``generate`` with beams expands what is given as it expands the prompts. Overrides do not
        add up: an inner one replaces an outer one.

        Args:
            top_k: Elastic k: active experts of each row, [rows], at most the adapter's k; None in a sequence: its own.
                The gates follow the same rule with the new k.
            allowed: Booleans, [rows, experts], or for each row the names of the experts that may be active (None:
                all). Masked experts are left out of the ranking; where fewer than k are left, fewer are active.
            decision: Gates, [rows, layers, experts], as ``record().gates`` holds them, used instead of the routers,
                also on a KV cache that an earlier prompt filled: the next turn of a chat on the first one's cache.

        Raises:
            MiloraError: ``adapter/unsupported`` for values that no adapter could take here; in the forward pass for
                those that the adapter cannot, and for an adapter with a fixed policy.
        """
        previous, self._override = self._override, make_override(top_k, allowed, decision)
        try:
            yield
        finally:
            self._override = previous

    @property
    def overriding(self) -> RoutingOverride | None:
        """The override of the running forward pass; a layer recomputed in backward sees that of its forward pass."""
        if not in_backward():
            self._last_override = self._override
        return self._last_override

    @property
    def is_recording(self) -> bool:
        """True where a record listens."""
        return self._record is not None and not in_backward()

    def check_continues(self, adapter: str) -> None:
        """Raises where ``generate`` would use an earlier prompt's decision for another prompt.

        Raises:
            MiloraError: ``adapter/unsupported``.
        """
        if self._continues_earlier_prompt:
            raise MiloraError(
                "adapter/unsupported",
                f"generate() was given a KV cache that an earlier prompt filled: adapter {adapter!r} would use that "
                "prompt's routing decision for this one. Give the whole conversation with an empty cache, or keep the "
                "earlier decision on purpose with context.override(decision=...).",
            )

    @contextlib.contextmanager
    def record(self, adapter: str | None = None) -> Iterator[RoutingRecord]:
        """Records the routing of the forward passes inside; the last one that decides is kept.

        Args:
            adapter: The adapter to record; needed only where several are active at once.
        """
        record = RoutingRecord(adapter)
        previous, self._record = self._record, record
        try:
            yield record
        finally:
            self._record = previous

    @property
    def is_marked(self) -> bool:
        """True inside :meth:`prompt`."""
        return self._explicit is not None

    def note(
        self, adapter: str, layer: int, probabilities: Tensor | None, gates: Tensor, real: Tensor | None = None
    ) -> None:
        """Hands a layer's decision to the open record, if any; a recomputed layer tells nothing new.

        ``real``: booleans, [rows], False where a row stands for nothing (padding, where tokens are routed).
        """
        if self._record is not None and not in_backward():
            self._record.note(adapter, layer, probabilities, gates, real)

    def is_filled(self, cache: object, layer: int) -> bool:
        """True where a layer's forward pass continues a KV cache that already held tokens."""
        if self._inputs is not None:
            return self._inputs.past_is_filled
        return cache_length(cache, layer) > 0

    def prompt_mask(self, hidden: Tensor) -> Tensor:
        """The prompt's tokens of the running forward pass: booleans, [rows, tokens], on the device of ``hidden``.

        Raises:
            MiloraError: ``adapter/unsupported`` where the prompt is not known.
        """
        if in_backward() and self._last_mask is not None:
            return self._last_mask.to(hidden.device)
        if self._explicit is not None:
            mask = explicit_prompt(self._explicit, hidden)
        elif self._generation is not None:
            mask = generation_prompt(self._generation, hidden)
        elif self._inputs is not None:
            if self._last_mask is not None:
                return self._last_mask.to(hidden.device)
            mask = inferred_prompt(self._inputs, hidden)
        else:
            raise MiloraError(
                "adapter/unsupported",
                "A decoder layer ran outside the causal language model's forward pass, so the prompt is not known. "
                "Call the causal language model, or mark the prompt with context.prompt(mask).",
            )
        self._last_mask = mask
        return mask

    def before_forward(self, module: nn.Module, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """The causal LM's pre-hook: keeps what tells the prompt. Shapes are looked at only if a router asks."""
        given = dict(inspect.signature(module.forward).bind_partial(*args).arguments) if args else {}
        given.update(kwargs)
        if given.get("adapter_names") is not None:
            raise adapter_names_refused()
        cache = find_cache((), given)
        labels = given.get("labels")
        self._last_mask = None
        self._inputs = ForwardInputs(
            attention_mask=given.get("attention_mask"),
            labels=labels if isinstance(labels, Tensor) else None,
            past_is_filled=cache is not None and cache_length(cache) > 0,
        )

    def after_forward(self, module: nn.Module, args: object, output: object) -> None:
        """The causal LM's post-hook: what was given no longer holds. The mask stays for a recompute in backward."""
        self._inputs = None


def adapter_names_refused() -> MiloraError:
    """The error for PEFT's ``adapter_names``, which would be ignored silently."""
    return MiloraError(
        "adapter/unsupported",
        "adapter_names (a batch over several adapters) is not supported by MiLoRA adapters; "
        "call the model once for each adapter after set_adapter(name).",
    )


def routing_context(model: nn.Module) -> RoutingContext | None:
    """The routing context of a model with a routed adapter, through PEFT's wrappers; None without one."""
    return getattr(model, CONTEXT_ATTRIBUTE, None)


def install_context(model: nn.Module) -> RoutingContext:
    """Puts a routing context on a causal LM, once; later calls return it."""
    context = routing_context(model)
    if context is None:
        context = RoutingContext()
        setattr(model, CONTEXT_ATTRIBUTE, context)
        model.register_forward_pre_hook(context.before_forward, with_kwargs=True)
        model.register_forward_hook(context.after_forward, always_call=True)
    return context


def remove_context(model: nn.Module) -> None:
    """Takes the routing context and its hooks off a causal LM."""
    context = routing_context(model)
    if context is not None:
        remove_hooks(model, context)
        delattr(model, CONTEXT_ATTRIBUTE)
