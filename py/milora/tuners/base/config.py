"""A config that is a plan: every place that an adapter sits on, with its path and size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from peft.config import PeftConfig

from milora.errors import MiloraError

FORMAT_VERSION = 1

_SITE_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "module": str,
    "in_features": int,
    "out_features": int,
}


@dataclass(frozen=True)
class Site:
    """One place that an adapter sits on: a linear module, or a block (attention, FFN), of a decoder layer.

    ``layer`` is the layer's path, ``module`` the path inside it; ``settings`` what the method says of this place.
    """

    name: str
    layer: str
    module: str
    in_features: int
    out_features: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Path inside the causal language model."""
        return f"{self.layer}.{self.module}"


@dataclass
class PlannedConfig(PeftConfig):
    """The config of a method's adapter, one to one with the TypeScript plan (``ts/spec/adapters``).

    Args:
        format_version: The version of this format; another one is refused.
        requires: The package to import before loading the adapter.
        target_modules: The last component of each place's path; ``layers`` decides.
        hidden_size: Width of the states that enter a layer.
        layers: ``{path, modules: [{name, module, in_features, out_features, …}]}`` for each layer.

    Raises:
        MiloraError: ``adapter/unreadable`` for another format version, ``adapter/mismatch`` for a plan that
            contradicts itself.
    """

    type_name: ClassVar[str]
    site_kind: ClassVar[Literal["linear", "block"]] = "linear"
    site_fields: ClassVar[Mapping[str, type | tuple[type, ...]]] = {}
    """Fields that a place has besides those of :class:`Site`, with their types."""

    format_version: int = field(default=FORMAT_VERSION)
    requires: str = field(default="milora")
    target_modules: list[str] = field(default_factory=list)
    hidden_size: int = field(default=0)
    layers: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        from peft.utils import PeftType

        self.peft_type = PeftType[self.type_name]
        self.check_format_version(self.format_version)
        self.target_modules = list(self.target_modules)
        problems = self.problems()
        if problems:
            raise MiloraError(
                "adapter/mismatch", "The adapter's config is not valid: " + " ".join(problems), problems=problems
            )

    @staticmethod
    def check_format_version(found: object) -> None:
        """Raises ``adapter/unreadable`` for a format that this package does not read."""
        if found != FORMAT_VERSION:
            raise MiloraError(
                "adapter/unreadable",
                f"The adapter has format version {found}; this milora reads version {FORMAT_VERSION}. "
                "Update the milora package, or train the adapter again.",
                path="format_version",
                found=str(found),
                allowed=str(FORMAT_VERSION),
            )

    def problems(self) -> list[str]:
        """What contradicts itself, one sentence each; a method adds its own."""
        if not is_positive(self.hidden_size):
            return [f"hidden_size is {self.hidden_size!r}; it must be a whole number of at least 1."]
        if not self.layers:
            return ["layers is empty; an adapter needs its plan, one entry for each adapted layer."]
        return [problem for index, layer in enumerate(self.layers) for problem in self._layer_problems(index, layer)]

    def _layer_problems(self, index: int, layer: Any) -> list[str]:
        where = f"layers[{index}]"
        if not isinstance(layer, dict) or set(layer) != {"path", "modules"} or not isinstance(layer["path"], str):
            return [f"{where} must have exactly the fields path and modules."]
        if not isinstance(layer["modules"], list) or not layer["modules"]:
            return [f"{where} ({layer['path']}).modules is empty; a layer of the plan needs at least one."]
        fields = {**_SITE_FIELDS, **self.site_fields}
        problems: list[str] = []
        for place, module in enumerate(layer["modules"]):
            at = f"{where} ({layer['path']}).modules[{place}]"
            if not isinstance(module, dict) or set(module) != set(fields):
                problems.append(f"{at} must have exactly the fields {', '.join(fields)}.")
                continue
            problems += [
                f"{at}.{name} is {module[name]!r}, which is of another type."
                for name, kind in fields.items()
                if not isinstance(module[name], kind)
            ]
        return problems

    @property
    def sites(self) -> dict[str, Site]:
        """Every place by its full path, in the order of the plan; computed once."""
        found: dict[str, Site] | None = self.__dict__.get("_sites")
        if found is None:
            found = {site.path: site for site in self._planned_sites()}
            self.__dict__["_sites"] = found
        return found

    def _planned_sites(self) -> list[Site]:
        return [
            Site(
                layer=layer["path"],
                settings={name: module[name] for name in self.site_fields},
                **{name: module[name] for name in _SITE_FIELDS},
            )
            for layer in self.layers
            for module in layer["modules"]
        ]


def layer_index_of(path: str) -> int:
    """The index of a decoder layer, the last number in its path; KV caches count layers so."""
    numbers = re.findall(r"(?:^|\.)(\d+)(?=\.|$)", path)
    return int(numbers[-1]) if numbers else 0


def is_positive(value: object, kind: type | tuple[type, ...] = int) -> bool:
    """True for a number above 0; True and False are no numbers here."""
    return isinstance(value, kind) and not isinstance(value, bool) and value > 0  # pyright: ignore[reportOperatorIssue]
