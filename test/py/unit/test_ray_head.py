"""A Ray that milora started for the session, whose head dies."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_SCRIPT = _ROOT / "test" / "fixtures" / "python" / "lost_head.py"


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the Python package ray is missing")
def test_a_lost_head_is_told_at_once_and_leaves_nothing(checkpoint: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(_SCRIPT), str(checkpoint)],
        env={**os.environ, "PYTHONPATH": str(_ROOT / "py")},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert seen.pop("seconds") < 5
    assert seen == {"code": "scale/lost", "found": "Ray's head", "left": [], "same": True}
