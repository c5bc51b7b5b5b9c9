"""From an adapter's config as JSON holds it to PEFT's config object."""

from __future__ import annotations

import dataclasses
from typing import Any

from peft.config import PeftConfig

from milora.errors import MiloraError
from milora.tuners.base import PlannedConfig
from milora.tuners.methods import method_of


def build_config(config: dict[str, Any]) -> PeftConfig:
    """Builds the PEFT config of an adapter from its JSON fields.

    Raises:
        MiloraError: ``adapter/unreadable`` for an unknown method, field or format version, ``adapter/mismatch`` for a
            plan that contradicts itself.
    """
    config_class = method_of(config.get("peft_type")).config
    if issubclass(config_class, PlannedConfig):
        if "format_version" not in config:
            message = "The adapter's config has no format_version."
            raise MiloraError("adapter/unreadable", message, path="format_version")
        # A newer format says so by its version; its new fields are no surprise then.
        config_class.check_format_version(config["format_version"])
    allowed = {f.name for f in dataclasses.fields(config_class)}
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
