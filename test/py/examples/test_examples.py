"""The scripts of examples/python, on a tiny model with an adapter that does something."""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import milora

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples" / "python"
FIXTURES = ROOT / "test" / "fixtures" / "python"

_TASK = """
task: made_up
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{right}}"
metric_list: [{metric: acc}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``model`` and ``adapter``."""
    folder = tmp_path_factory.mktemp("examples")
    runpy.run_path(str(FIXTURES / "make_tiny_model.py"))["main"](str(folder / "model"))
    base = AutoModelForCausalLM.from_pretrained(folder / "model")
    model = milora.attach(base, milora.plan(base, rank=4, top_k=2))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "milora" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    milora.save(model, folder / "adapter")
    return folder


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, *arguments: str) -> dict[str, object]:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, "model", "adapter", *arguments])
    return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def test_load_and_generate(folder, monkeypatch, capsys):
    run(monkeypatch, folder, "load_and_generate")
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("answer:") for line in lines) == 2
    chosen = [line.partition("layer 0: ")[2].split() for line in lines if "layer 0:" in line]
    assert [len(names) for names in chosen] == [2, 2]


def test_serve_pipeline(folder, monkeypatch):
    monkeypatch.chdir(folder)
    server = runpy.run_path(str(EXAMPLES / "serve_pipeline.py"))["make_server"]("model", "adapter", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}", data=b"Who is there?")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200
            assert answer.read()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="the extra lm-eval is not installed")
def test_lm_eval_adapter(folder, monkeypatch, capsys):
    tasks = folder / "tasks"
    tasks.mkdir()
    (tasks / "task.yaml").write_text(_TASK)
    rows = [{"question": f"What is {number}?", "choices": ["one", "two"], "right": number % 2} for number in range(4)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # Both libraries have read their environment by now.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    run(monkeypatch, folder, "lm_eval_adapter", "made_up", "tasks")
    assert "made_up acc,none: 0." in capsys.readouterr().out


def test_continue_training(folder, monkeypatch, capsys):
    run(monkeypatch, folder, "continue_training", "new-adapter", "3")
    assert "loss " in capsys.readouterr().out
    before = load_file(folder / "adapter" / "adapter_model.safetensors")
    after = load_file(folder / "new-adapter" / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_each_script_is_short():
    for script in EXAMPLES.glob("*.py"):
        assert len(script.read_text(encoding="utf-8").splitlines()) < 60, script.name
