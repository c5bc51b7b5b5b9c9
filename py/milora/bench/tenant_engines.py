"""Many tenants in our engine, and as many LoRAs in one model of PEFT's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from milora.bench.decode import DecodeMethod
from milora.bench.generations import LEAST_NEW_TOKENS, EngineGenerator, HfGenerator, HfPrompts, Report, hf_twin
from milora.bench.made_up import another_like, made_up_adapter, made_up_prompts
from milora.checkpoint import attach_adapter
from milora.engine.fused import Engine, EngineLimits, EngineRequest
from milora.engine.fused.cache import KvCache
from milora.errors import CancelledError, MiloraError


@dataclass(frozen=True)
class TenantBatch:
    """A batch in which every tenant has as many rows, side by side."""

    tenants: int
    rows_per_tenant: int

    @property
    def rows(self) -> int:
        """Of all tenants."""
        return self.tenants * self.rows_per_tenant

    def rows_of(self, tenant: int) -> slice:
        """The rows of a tenant."""
        return slice(tenant * self.rows_per_tenant, (tenant + 1) * self.rows_per_tenant)


@dataclass(frozen=True)
class TenantTexts:
    """Prompts of one length, ``most_rows`` at once at most; ``context_length``: the model's."""

    most_rows: int
    prompt_tokens: int
    new_tokens: int
    context_length: int | None

    def prompts(self, rows: int, vocabulary: int) -> list[tuple[int, ...]]:
        """The prompts of a batch; row for row the same in all."""
        return made_up_prompts(rows, self.prompt_tokens, vocabulary)


class ResidentTenants:
    """Adapters of several methods in our engine, one of each for every tenant."""

    def __init__(self, base: PreTrainedModel, methods: Sequence[DecodeMethod], texts: TenantTexts) -> None:
        self._device = base.device
        self._vocabulary = base.config.get_text_config().vocab_size
        self._texts = texts
        self.adapters = {method: made_up_adapter(base, method.config or {}) for method in methods}
        limits = EngineLimits(
            max_rows=texts.most_rows,
            max_cells=KvCache.cells(texts.most_rows, texts.prompt_tokens + texts.new_tokens),
            # All join in one step.
            prefill_tokens=texts.most_rows * texts.prompt_tokens,
            context_length=texts.context_length,
        )
        self._engine = Engine(base, limits)

    @property
    def slow_because(self) -> str | None:
        """Why the engine does not run the base fused; None: it does."""
        return self._engine.slow_because

    def load(self, tenants: int, report: Report) -> None:
        """Makes the adapters of so many tenants resident.

        Raises:
            MiloraError: ``adapter/unsupported`` for a method that the engine does not run.
        """
        total = tenants * len(self.adapters)
        for done in range(total):
            report("adapters of tenants", done, total)
            tenant, place = divmod(done, len(self.adapters))
            method, like = list(self.adapters.items())[place]
            own = another_like(like, tenant)
            self._engine.load(_name(method, tenant), own.config, own.tensors)
        report("adapters of tenants", total, total)

    def generator(self, method: DecodeMethod | None, batch: TenantBatch) -> EngineGenerator:
        """A batch of a method's tenants; None: as many rows of the base."""
        prompts = self._texts.prompts(batch.rows, self._vocabulary)
        requests = [
            EngineRequest(
                prompt_ids=prompt,
                adapter=None if method is None else _name(method, row // batch.rows_per_tenant),
                max_new_tokens=self._texts.new_tokens,
            )
            for row, prompt in enumerate(prompts)
        ]
        return EngineGenerator(self._engine, requests, self._device)


class PeftTenants:
    """LoRAs in one model of PEFT's, which ``adapter_names`` of a call choose from."""

    def __init__(self, base: PreTrainedModel, config: dict[str, Any], texts: TenantTexts) -> None:
        self._base = base
        self._vocabulary = base.config.get_text_config().vocab_size
        self._texts = texts
        self._model: Any = None
        self.method = DecodeMethod("lora", None, config)
        self.adapter = made_up_adapter(base, config)

    def attach(self, tenants: int, report: Report) -> str | None:
        """Makes the model of so many tenants and lets it write; gives why it can't, None: it can."""
        model: Any = hf_twin(self._base)
        try:
            for tenant in range(tenants):
                report("LoRAs in PEFT", tenant, tenants)
                own = another_like(self.adapter, tenant)
                model = attach_adapter(model, own.config, _name(self.method, tenant), own.tensors)
            self._model = model
            short = HfPrompts(self._texts.prompts(1, self._vocabulary), LEAST_NEW_TOKENS, 1, (_name(self.method, 0),))
            HfGenerator(model, short).run(0.0, lambda: None)
        except CancelledError:
            raise
        except (MiloraError, RuntimeError, TypeError, ValueError) as error:
            self._model = None
            return f"PEFT refuses: {error}"
        report("LoRAs in PEFT", tenants, tenants)
        return None

    def generator(self, batch: TenantBatch) -> HfGenerator:
        """A batch of the tenants."""
        names = tuple(_name(self.method, row // batch.rows_per_tenant) for row in range(batch.rows))
        prompts = self._texts.prompts(batch.rows, self._vocabulary)
        return HfGenerator(self._model, HfPrompts(prompts, self._texts.new_tokens, 1, names))


def _name(method: DecodeMethod, tenant: int) -> str:
    return f"{method.name}-{tenant}"
