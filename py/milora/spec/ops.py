"""Inputs of the operations: validated against ``schemas/ops.json``, with defaults filled in."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from milora.errors import MiloraError

_package = Path(__file__).resolve().parents[1]
# In a wheel the schemas lie inside the package, in a checkout beside `py/`.
_candidates = (_package / "schemas" / "ops.json", _package.parents[1] / "schemas" / "ops.json")


@functools.cache
def _schemas() -> dict[str, dict[str, Any]]:
    for file in _candidates:
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
    looked_at = " or ".join(str(file) for file in _candidates)
    raise MiloraError("internal", f"The schemas of the operations are missing: no {looked_at}.")


def op_names() -> tuple[str, ...]:
    """Names of all operations that the schemas hold."""
    return tuple(_schemas())


def validate_input(name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the input of the operation ``name`` and returns a copy with every default filled in.

    Raises:
        MiloraError: ``input/unknown-name`` for an unknown operation; ``input/invalid-spec`` with every problem and
            its JSON path.
    """
    schemas = _schemas()
    if name not in schemas:
        close = get_close_matches(name, schemas, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Allowed: {', '.join(schemas)}."
        raise MiloraError("input/unknown-name", f"Unknown operation {name!r}. {hint}", found=name)
    schema = schemas[name]["input"]
    errors = sorted(_leaves(Draft202012Validator(schema).iter_errors(payload)), key=lambda error: error.json_path)
    if errors:
        problems = [f"{_path(error)}: {error.message}" for error in errors]
        raise MiloraError(
            "input/invalid-spec",
            f"The input of {name} is wrong: {'; '.join(problems)}",
            path=_path(errors[0]),
            problems=problems,
        )
    filled = copy.deepcopy(dict(payload))
    _fill(schema, filled)
    return filled


def _leaves(errors: Iterable[ValidationError]) -> Iterable[ValidationError]:
    """A union's error names no field; its branches' errors do, as far as they reach deeper than the union."""
    for error in errors:
        deeper = [sub for sub in error.context or [] if len(sub.absolute_path) > len(error.absolute_path)]
        if deeper:
            yield from _leaves(deeper)
        else:
            yield error


def _path(error: ValidationError) -> str:
    return error.json_path.removeprefix("$").removeprefix(".") or "(the input)"


def _fill(schema: Mapping[str, Any], value: Any) -> None:
    for branch in schema.get("anyOf", []) + schema.get("oneOf", []):
        if Draft202012Validator(branch).is_valid(value):
            _fill(branch, value)
            break
    if isinstance(value, dict):
        for key, field in schema.get("properties", {}).items():
            if key not in value and "default" in field:
                value[key] = copy.deepcopy(field["default"])
            if key in value:
                _fill(field, value[key])
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            _fill(schema["items"], item)
