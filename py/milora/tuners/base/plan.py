"""Checks an adapter's plan against the model it is to be put into."""

from __future__ import annotations

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from milora.errors import MiloraError
from milora.tuners.base.config import PlannedConfig, Site

_SHOWN_PROBLEMS = 5


def check_plan(model: nn.Module, adapter: str, config: PlannedConfig, made_for: str | None = None) -> None:
    """Raises where the model lacks a planned place or has it in another size.

    Args:
        model: The causal language model, with or without adapters.
        adapter: The adapter's name, for the message.
        config: The plan.
        made_for: The model that the adapter was made for, for the message.

    Raises:
        MiloraError: ``adapter/mismatch``, which names the adapter, the modules, what was found and what is expected.
    """
    modules = dict(model.named_modules())
    missing = [path for path in dict.fromkeys(site.layer for site in config.sites.values()) if path not in modules]
    problems = [f"{path}: found no such layer." for path in missing]
    for path, site in config.sites.items():
        if site.layer in missing:
            continue
        problem = _site_problem(modules.get(path), site, is_linear=config.site_kind == "linear")
        if problem is not None:
            problems.append(problem)
    if (width := _hidden_size(model)) is not None and width != config.hidden_size:
        problems.append(f"hidden size: found {width}, expected {config.hidden_size}.")
    if problems:
        shown = " ".join(problems[:_SHOWN_PROBLEMS])
        more = f" And {len(problems) - _SHOWN_PROBLEMS} more." if len(problems) > _SHOWN_PROBLEMS else ""
        base = f" It was made for {made_for}." if made_for else ""
        raise MiloraError(
            "adapter/mismatch",
            f"Adapter {adapter!r} does not fit this model. {shown}{more}{base}",
            problems=problems,
        )


def _site_problem(module: nn.Module | None, site: Site, *, is_linear: bool) -> str | None:
    if not is_linear:
        return f"{site.path}: found no such block." if module is None else None
    expected = f"expected a linear module of {site.in_features} -> {site.out_features}."
    if module is None:
        return f"{site.path}: found no such module, {expected}"
    base = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
    found_in, found_out = getattr(base, "in_features", None), getattr(base, "out_features", None)
    if found_in is None or found_out is None:
        return f"{site.path}: found a {type(base).__name__}, {expected}"
    if (found_in, found_out) != (site.in_features, site.out_features):
        return f"{site.path}: found {found_in} -> {found_out}, {expected}"
    return None


def _hidden_size(model: nn.Module) -> int | None:
    config = getattr(model, "config", None)
    read_text_config = getattr(config, "get_text_config", None)
    text_config = read_text_config() if read_text_config is not None else config
    return getattr(text_config, "hidden_size", None)
