"""From an adapter's config as JSON holds it to PEFT's config object."""

from __future__ import annotations

import dataclasses
from typing import Any

from peft import LoraConfig
from peft.config import PeftConfig

from milora.errors import MiloraError
from milora.tuners.milora import PEFT_TYPE_NAME, MiloraConfig

_CONFIGS: dict[str, type[PeftConfig]] = {PEFT_TYPE_NAME: MiloraConfig, "LORA": LoraConfig}


def build_config(config: dict[str, Any]) -> PeftConfig:
    """Builds the PEFT config of a MiLoRA or LoRA adapter from its JSON fields.

    Raises:
        MiloraError: ``adapter/unreadable`` for an unknown method, field or format version, ``adapter/mismatch`` for a
            plan that contradicts itself.
    """
    kind = config.get("peft_type")
    config_class = _CONFIGS.get(kind) if isinstance(kind, str) else None
    if config_class is None:
        raise MiloraError(
            "adapter/unreadable",
            f"The adapter's peft_type is {kind!r}; allowed: {', '.join(_CONFIGS)}.",
            path="peft_type",
            found=str(kind),
            allowed=", ".join(_CONFIGS),
        )
    if config_class is MiloraConfig and "format_version" not in config:
        raise MiloraError("adapter/unreadable", "The adapter's config has no format_version.", path="format_version")
    allowed = {f.name for f in dataclasses.fields(config_class)}
    if config_class is MiloraConfig:
        # A newer format says so by its version; its new fields are no surprise then.
        MiloraConfig.check_format_version(config["format_version"])
    unknown = sorted(set(config) - allowed)
    if unknown:
        raise MiloraError(
            "adapter/unreadable",
            f"The adapter's config has unknown fields: {', '.join(unknown)}. It may come from a newer version.",
            path=unknown[0],
            problems=[f"Unknown field {name}." for name in unknown],
        )
    fields = {name: value for name, value in config.items() if name != "peft_type"}
    return config_class(**fields)
