"""The wheel of py/ installs alone and loads an adapter, with no Node on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

import milora

ROOT = Path(__file__).resolve().parents[3]

# Loads the adapter in PEFT's own way.
_PROGRAM = """
import shutil, sys
from pathlib import Path
import milora
from peft import PeftModel
from transformers import LlamaForCausalLM
assert shutil.which("node") is None
assert Path(milora.__file__).is_relative_to(sys.argv[1]), milora.__file__
assert (Path(milora.__file__).parent / "schemas" / "ops.json").is_file()
model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained("base"), "adapter")
print(sum("milora" in name for name, _ in model.named_parameters()) > 0)
"""


def run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=os.environ | variables, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the wheel in it and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    built = run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT / "py")], folder)
    if "hatchling" in built.stderr and built.returncode != 0:
        pytest.skip("pip cannot fetch hatchling, which builds the wheel")
    assert built.returncode == 0, built.stderr
    [wheel] = folder.glob("milora-*.whl")
    version = json.loads((ROOT / "package.json").read_text())["version"]
    assert wheel.name.startswith(f"milora-{version}-")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if "test" in name.lower() or name.endswith(".pyc")]
    installed = run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], folder)
    assert installed.returncode == 0, installed.stderr
    return folder / "site"


def test_loads_adapters_alone(site, tmp_path):
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
    )
    base = LlamaForCausalLM(config)
    base.save_pretrained(tmp_path / "base")
    milora.save(milora.attach(base, milora.plan(base, rank=2, top_k=1)), tmp_path / "adapter")
    done = run([sys.executable, "-c", _PROGRAM, str(site)], tmp_path, PYTHONPATH=str(site), PATH="/nowhere")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"
