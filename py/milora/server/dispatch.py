"""From an operation's name and JSON input to its JSON output."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

from milora.errors import MiloraError
from milora.server.call import Call

Operation = Callable[[dict[str, Any], Call], dict[str, Any]]

_BUILT_IN = "milora.server.ops"
_VALIDATION = "milora.spec.ops"

_extensions: dict[str, Operation] = {}


def load_extensions(modules: Iterable[str]) -> None:
    """Adds the operations of other modules, each with an ``OPS: dict[str, Operation]``.

    Raises:
        MiloraError: ``input/unknown-name``, a module without ``OPS``.
        ImportError: a module that cannot be imported.
    """
    for name in modules:
        operations = getattr(importlib.import_module(name), "OPS", None)
        if not isinstance(operations, dict):
            message = f"The Python module {name} has no OPS: a dict of operation names and functions."
            raise MiloraError("input/unknown-name", message, found=name)
        _extensions.update(operations)


def run(name: str, payload: Any, call: Call) -> Any:
    """Runs one operation; an extension's comes before a built-in one of the same name.

    Raises:
        MiloraError: ``input/unknown-name``, there is no such operation; ``environment/missing-package``; and whatever
            the operation raises.
    """
    extension = _extensions.get(name)
    if extension is not None:
        return extension(payload, call)
    operation = _find_built_in(name)
    validate = _validator()
    return operation(validate(name, payload) if validate else payload, call)


def _find_built_in(name: str) -> Operation:
    # Imported with the first operation, because it imports torch: opening a session stays fast.
    module = _import(_BUILT_IN)
    operations: dict[str, Operation] = module.OPS if module else {}
    if name in operations:
        return operations[name]
    known = sorted({*operations, *_extensions})
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else "Add a module of your own operations with opModules."
    raise MiloraError(
        "input/unknown-name", f"There is no operation {name!r}.", found=name, allowed=", ".join(known), hint=hint
    )


def _validator() -> Callable[[str, Any], dict[str, Any]] | None:
    module = _import(_VALIDATION)
    return module.validate_input if module else None


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise MiloraError(
            "environment/missing-package",
            f"The Python package {error.name!r} is missing in {sys.executable}.",
            found=sys.executable,
            hint="Install the requirements of py/pyproject.toml there, or unset MILORA_PYTHON.",
        ) from error
