"""Checks an adapter's plan against the model it is to be put into."""

from __future__ import annotations

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from milora.errors import MiloraError
from milora.tuners.milora.config import ExpertPlan, MiloraConfig

_SHOWN_PROBLEMS = 5


def check_plan(model: nn.Module, adapter: str, config: MiloraConfig, made_for: str | None = None) -> None:
    """Raises where the model lacks a planned module or has it in another size.

    Args:
        model: The causal language model, with or without adapters.
        adapter: The adapter's name, for the message.
        config: The plan.
        made_for: The model that the adapter was made for, for the message.

    Raises:
        MiloraError: ``adapter/mismatch``, which names the adapter, the modules, what was found and what is expected.
    """
    modules = dict(model.named_modules())
    problems: list[str] = []
    for layer in config.plan:
        if layer.path not in modules:
            problems.append(f"{layer.path}: found no such layer.")
            continue
        for expert in layer.experts:
            path = f"{layer.path}.{expert.module}"
            if (problem := _expert_problem(modules.get(path), path, expert)) is not None:
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


def _expert_problem(module: nn.Module | None, path: str, expert: ExpertPlan) -> str | None:
    expected = f"expected a linear module of {expert.in_features} -> {expert.out_features}."
    if module is None:
        return f"{path}: found no such module, {expected}"
    base = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
    found_in, found_out = getattr(base, "in_features", None), getattr(base, "out_features", None)
    if found_in is None or found_out is None:
        return f"{path}: found a {type(base).__name__}, {expected}"
    if (found_in, found_out) != (expert.in_features, expert.out_features):
        return f"{path}: found {found_in} -> {found_out}, {expected}"
    return None


def _hidden_size(model: nn.Module) -> int | None:
    config = getattr(model, "config", None)
    read_text_config = getattr(config, "get_text_config", None)
    text_config = read_text_config() if read_text_config is not None else config
    return getattr(text_config, "hidden_size", None)
