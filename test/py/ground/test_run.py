"""``python -m milora.run``: a program that does not import milora, run as if directly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import milora

PACKAGES = str(Path(milora.__file__).resolve().parents[1])

_REPORT = """
import json, sys
import helper
main = sys.modules["__main__"]
print(json.dumps({
    "name": __name__, "argv": sys.argv, "path": sys.path[0], "file": __file__, "is_main": main.__dict__ is globals(),
    "helper": helper.__file__,
}))
"""

_FAILING = """
def broken():
    try:
        {}["key"]
    except KeyError as error:
        raise RuntimeError("it broke") from error

broken()
"""


def run(*arguments: str, cwd: Path, direct: bool = False) -> subprocess.CompletedProcess[str]:
    runner = [] if direct else ["-m", "milora.run"]
    environment = {name: value for name, value in os.environ.items() if name != "MILORA_SERVER"}
    environment |= {"PYTHONPATH": PACKAGES, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *runner, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120, check=False)


def test_a_script_as_if_run_directly(tmp_path):
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "helper.py").write_text("")
    (folder / "report.py").write_text(_REPORT)
    found = run("tools/report.py", "--x", "-m", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == json.loads(
        run("tools/report.py", "--x", "-m", cwd=tmp_path, direct=True).stdout
    )


def test_a_module_as_if_run_directly(tmp_path):
    package = tmp_path / "tools"
    package.mkdir()
    (tmp_path / "helper.py").write_text("")
    (package / "__main__.py").write_text(_REPORT + "sys.exit(7)")
    found = run("tools", "--x", cwd=tmp_path)
    direct = run("-m", "tools", "--x", cwd=tmp_path, direct=True)
    assert found.returncode == direct.returncode == 7
    assert json.loads(found.stdout) == json.loads(direct.stdout)


def test_a_traceback_is_the_programs_own(tmp_path):
    (tmp_path / "failing.py").write_text(_FAILING)
    found, direct = run("failing.py", cwd=tmp_path), run("failing.py", cwd=tmp_path, direct=True)
    assert found.returncode == direct.returncode == 1
    assert found.stderr.replace(str(tmp_path) + "/", "") == direct.stderr.replace(str(tmp_path) + "/", "")
    assert "RuntimeError: it broke" in found.stderr


@pytest.mark.parametrize(("target", "code"), [("no_such_module", 1), ("no_such.py", 2)])
def test_what_is_not_there(tmp_path, target, code):
    found = run(target, cwd=tmp_path)
    direct = run(*(["-m", target] if code == 1 else [target]), cwd=tmp_path, direct=True)
    assert found.returncode == direct.returncode == code
    assert found.stderr == direct.stderr


def test_usage(tmp_path):
    found = run(cwd=tmp_path)
    assert found.returncode == 2
    assert "usage: python -m milora.run" in found.stderr


def test_plain_peft_loads_our_adapter(tmp_path, base_folder):
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(base_folder)
    milora.save(milora.attach(base, milora.plan(base, rank=2)), tmp_path / "adapter")
    (tmp_path / "pipeline.py").write_text(
        "import sys\n"
        "from transformers import AutoModelForCausalLM\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "print(sum('prompt_router' in name for name, _ in model.named_parameters()))\n"
    )
    found = run("pipeline.py", "adapter", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > 0
