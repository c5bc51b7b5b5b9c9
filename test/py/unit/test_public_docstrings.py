"""Every public symbol of the modules that Python programs import has a docstring: the reference is made of them."""

import importlib
import inspect
from collections.abc import Iterator

import pytest

import milora

MODULES = [
    "milora",
    "milora.errors",
    "milora.hf_trainer",
    "milora.lm_eval",
    "milora.planning",
    "milora.public",
    "milora.run",
    "milora.tuners.milora.config",
]


def public(owner: object, module: str) -> Iterator[tuple[str, object]]:
    """Functions and classes of a module, and methods of its classes, that are its own and have a public name."""
    for name, value in vars(owner).items():
        own = getattr(value, "__module__", None) == module
        if name.startswith("_") or not own or not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        yield name, value
        if inspect.isclass(value):
            yield from ((f"{name}.{inner}", method) for inner, method in public(value, module))


def undocumented(module: str) -> list[str]:
    loaded = importlib.import_module(module)
    missing = [] if loaded.__doc__ else [module]
    return missing + [name for name, value in public(loaded, module) if not getattr(value, "__doc__", None)]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_symbol_is_documented(module: str) -> None:
    assert undocumented(module) == []


def test_the_names_of_the_package_are_documented() -> None:
    assert [name for name in milora.__all__ if not inspect.getdoc(getattr(milora, name))] == []


def test_a_missing_docstring_is_seen() -> None:
    assert undocumented(__name__) == [
        "undocumented",
        "test_every_public_symbol_is_documented",
        "test_the_names_of_the_package_are_documented",
        "test_a_missing_docstring_is_seen",
    ]
