"""Inputs of operations against the generated schemas."""

from __future__ import annotations

import pytest

from milora.errors import MiloraError
from milora.server.ops import OPS
from milora.spec import op_names, validate_input


def test_every_operation_of_the_table_is_there():
    assert set(OPS) == set(op_names())


def test_defaults_are_filled_at_every_depth():
    unset = {"adapter": None, "messages": None, "topK": None, "masked": [], "keepDecisionAs": None, "decision": None}
    filled = validate_input("generate", {"requests": [{"prompt": "a"}, {"prompt": "b", "chat": True}]})
    assert filled == {
        "requests": [{"prompt": "a", "chat": False, **unset}, {"prompt": "b", "chat": True, **unset}],
        "maxNewTokens": 128,
        "beams": 1,
        "explain": False,
        "compile": False,
        "cutPrompts": False,
    }
    training = validate_input("startTraining", {"adapter": "x", "maxGradientNorm": None})
    assert training["maxGradientNorm"] is None
    assert training["betas"] == [0.9, 0.999]


def test_the_callers_value_is_not_changed():
    request = {"prompt": "a"}
    validate_input("generate", {"requests": [request]})
    assert request == {"prompt": "a"}


def test_every_problem_is_listed_with_its_path():
    payload = {"requests": [{"prompt": 3}, {"adapter": "", "prompt": "b"}], "beams": 0, "maxNewTokens": "many"}
    with pytest.raises(MiloraError) as caught:
        validate_input("generate", payload)
    assert caught.value.code == "input/invalid-spec"
    problems = caught.value.details["problems"]
    assert isinstance(problems, list)
    assert len(problems) == 4
    for path in ("requests[0].prompt", "requests[1].adapter", "beams", "maxNewTokens"):
        assert any(problem.startswith(f"{path}: ") for problem in problems)


def test_an_unknown_operation_is_named():
    with pytest.raises(MiloraError, match="Did you mean generate"):
        validate_input("generat", {})
