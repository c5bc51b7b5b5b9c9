"""Without lm-evaluation-harness: an error that says what to install."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[3] / "py" / "pyproject.toml"

_PROGRAM = """
import sys
sys.modules["lm_eval"] = None
import milora
try:
    import milora.lm_eval
except milora.MiloraError as error:
    print(error.code, error.message, error.details["hint"], sep="|")
"""


def test_missing_harness():
    run = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    code, message, hint = run.stdout.strip().split("|")
    assert code == "environment/missing-package"
    assert "lm-evaluation-harness" in message
    pin = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["lm-eval"][0]
    assert pin in hint
