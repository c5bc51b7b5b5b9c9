"""A training goes on bit for bit in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import milora
from milora.checkpoint import attach_adapter
from milora.errors import MiloraError
from milora.training import TrainingSession, TrainingSettings, load_training, save_training

# Dropout makes every step draw random numbers, so a generator that is not restored shows.
_PROGRAM = """
import importlib.util, random, sys
from pathlib import Path
import numpy, torch
from safetensors.torch import save_file

def load(name, file):
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

tests = Path(sys.argv[1])
shared, unit = load("shared", tests.parent / "conftest.py"), load("unit", tests / "conftest.py")
from milora.checkpoint import attach_adapter
from milora.training import TrainingSession, TrainingSettings, VirtualStep, load_training, save_training

first, last, state, out = int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5])
base = shared.build_tiny_model("llama").requires_grad_(False)
model = attach_adapter(base, shared.milora_config(base, lora_dropout=0.2), "tuned")
settings = TrainingSettings(micro_batch=3, balance=0.1, weight_decay=0.01, seed=5)
session = TrainingSession(model, "tuned", settings, pad_id=0)
dataset = unit._random_dataset([(5, 1), (9, 7), (3, 2), (14, 4), (6, 11), (2, 1), (8, 3), (4, 5)])
if first > 0:
    load_training(session, state)
for step in range(first, last):
    # Python's and NumPy's generators take part too.
    rows = [random.randrange(8), int(numpy.random.randint(8)), *range(step % 3, 8, 2)]
    session.step(dataset, rows, 1e-2 / (1 + step), "weights")
    # Every other Θ step is second order: its passes repeat random numbers and must leave the generators alone.
    virtual = VirtualStep(dataset, rows, 1e-2) if step % 2 else None
    session.step(dataset, rows[::-1], 1e-3, "activation", virtual)
save_training(session, state)
groups = (session.weights, session.activation)
save_file({name: p.detach().clone() for group in groups for name, p in group.parameters.items()}, out)
"""


def run(tmp_path: Path, first: int, last: int, name: str) -> dict[str, torch.Tensor]:
    program, out = tmp_path / "program.py", tmp_path / f"{name}-{last}.safetensors"
    program.write_text(_PROGRAM, encoding="utf-8")
    arguments = [str(Path(__file__).parent), str(first), str(last), str(tmp_path / name), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(milora.__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", str(program), *arguments]
    subprocess.run(command, check=True, timeout=120, env=environment)
    return load_file(out)


def test_ten_steps_are_five_and_five_bit_for_bit(tmp_path):
    straight = run(tmp_path, 0, 10, "straight")
    half = run(tmp_path, 0, 5, "broken")
    resumed = run(tmp_path, 5, 10, "broken")
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    # A test that could not fail would pass without any training.
    assert not all(torch.equal(half[name], resumed[name]) for name in half)


@pytest.fixture
def session(tiny_model, milora_plan) -> TrainingSession:
    base = tiny_model("llama")
    return TrainingSession(attach_adapter(base, milora_plan(base), "tuned"), "tuned", TrainingSettings(), pad_id=0)


def test_a_state_of_another_adapter_is_refused(session, tiny_model, lora_plan, tmp_path):
    save_training(session, tmp_path / "state")
    base = tiny_model("llama")
    other = TrainingSession(attach_adapter(base, lora_plan(base), "tuned"), "tuned", TrainingSettings(), pad_id=0)
    with pytest.raises(MiloraError, match="is missing") as caught:
        load_training(other, tmp_path / "state")
    assert caught.value.code == "run/not-resumable"
    assert "lora_A" in str(caught.value.details["problems"])


def test_a_state_of_another_rank_is_refused_whole(session, tiny_model, milora_plan, tmp_path):
    save_training(session, tmp_path / "state")
    base = tiny_model("llama")
    plan = milora_plan(base, rank=8)
    other = TrainingSession(attach_adapter(base, plan, "tuned"), "tuned", TrainingSettings(), pad_id=0)
    before = [parameter.detach().clone() for parameter in other.weights.parameters.values()]
    with pytest.raises(MiloraError, match="has shape"):
        load_training(other, tmp_path / "state")
    assert all(map(torch.equal, before, other.weights.parameters.values()))


@pytest.mark.parametrize("fault", ["missing", "truncated", "format", "tensor"])
def test_a_damaged_state_is_named(session, tmp_path, fault: str):
    folder = tmp_path / "state"
    save_training(session, folder)
    tensors = folder / "training.safetensors"
    if fault == "missing":
        (folder / "training.json").unlink()
    elif fault == "truncated":
        tensors.write_bytes(tensors.read_bytes()[:-100])
    elif fault == "format":
        (folder / "training.json").write_text('{"format": 99}', encoding="utf-8")
    else:
        content = load_file(tensors)
        content.pop(next(name for name in content if "projection" in name))
        save_file(content, tensors)
    with pytest.raises(MiloraError) as caught:
        load_training(session, folder)
    assert caught.value.code == "run/not-resumable"
    assert str(folder) in caught.value.message


def test_a_failed_save_leaves_the_old_state_whole(session, tmp_path, monkeypatch):
    folder = tmp_path / "state"
    save_training(session, folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(tensors: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("milora.training.state.save_file", full)
    with pytest.raises(MiloraError, match="No space left") as caught:
        save_training(session, folder)
    assert caught.value.code == "run/disk"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
