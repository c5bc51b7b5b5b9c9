"""Every snippet of docs/python.md runs, as it stands there."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import milora
from milora.data import Prompt, TextEncoder
from milora.engine import ScoringRow, score_choices
from milora.engine.adapters import ActiveModel
from milora.routing.context import routing_context

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "python.md"
PACKAGES = str(ROOT / "py")

# Of a program that does not import milora.
_PROGRAM = """
import argparse
from transformers import AutoModelForCausalLM
parser = argparse.ArgumentParser()
parser.add_argument("--model")
model = AutoModelForCausalLM.from_pretrained(parser.parse_args().model)
assert any("prompt_router" in name for name, _ in model.named_parameters())
"""

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
_ROWS = [
    {"question": "What falls from a cloud?", "choices": ["rain", "a stone of some size", "iron"], "right": 0},
    {"question": "Who flies?", "choices": ["no", "a bird"], "right": 1},
    {"question": "Which of the four seasons has the most snow in it?", "choices": ["winter", "may"], "right": 0},
]


@pytest.fixture
def folder(base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's folder, which is then the current one, with ``base-model``."""
    (tmp_path / "base-model").symlink_to(base_folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def adapted(folder: Path, randomize) -> PeftModel:
    """``base-model`` with the adapter in the folder ``adapter``, whose routers and experts do something."""
    base = AutoModelForCausalLM.from_pretrained(folder / "base-model")
    model = milora.attach(base, milora.plan(base, rank=4, top_k=2))
    randomize(model, "default")
    milora.save(model, folder / "adapter")
    return model.eval()


def snippets(language: str) -> list[tuple[str, int]]:
    """The page's snippets, and the line of each."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [(snippet.group(1), text[: snippet.start()].count("\n") + 1) for snippet in found]


def commands(start: str) -> list[list[str]]:
    lines = [line for code, _ in snippets("sh") for line in code.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(start)]


def run(command: list[str], *more: str) -> None:
    assert command[0] == "python"
    environment = {name: value for name, value in os.environ.items() if name != "MILORA_SERVER"}
    environment |= {"PYTHONPATH": PACKAGES, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    environment |= {"HF_HOME": str(Path.cwd() / "home")}
    done = subprocess.run(
        [sys.executable, *command[1:], *more],
        capture_output=True,
        text=True,
        env=environment,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_python_snippets_run_in_one_program(folder):
    code = snippets("python")
    assert len(code) == 5
    names: dict[str, object] = {}
    for snippet, line in code:
        # Blank lines ahead: a traceback then names the line of the page.
        exec(compile("\n" * line + snippet, str(PAGE), "exec"), names)
    experts = names["experts"]
    assert isinstance(experts, torch.Tensor)
    assert experts.shape == (1, 2, 7)
    assert experts.sum(dim=-1).unique().tolist() == [3]


@pytest.mark.usefixtures("adapted")
def test_programs_that_do_not_import_milora(folder):
    (folder / "my_script.py").write_text(_PROGRAM)
    (folder / "my_package").mkdir()
    (folder / "my_package" / "serve.py").write_text(_PROGRAM)
    programs = commands("python -m milora.run my_")
    assert len(programs) == 2
    for command in programs:
        run(command)


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="the extra lm-eval is not installed")
@pytest.mark.parametrize("console_script", [False, True])
def test_harness_command(folder, adapted, console_script):
    (folder / "task.yaml").write_text(_TASK)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _ROWS))
    [command] = commands("python -m milora.run lm_eval")
    assert command[-2:] == ["--tasks", "arc_easy"]
    if console_script:
        # A script of no suffix, as pip puts it into bin.
        script = folder / "bin" / "lm_eval"
        script.parent.mkdir()
        script.write_text("import sys\nfrom lm_eval.__main__ import cli_evaluate\nsys.exit(cli_evaluate())\n")
        command[command.index("lm_eval")] = str(script)
    run(command[:-1], "made_up", "--include_path", ".", "--device", "cpu", "--log_samples", "--output_path", "out")
    [samples] = (folder / "out").rglob("samples_*.jsonl")
    lines = sorted(map(json.loads, samples.read_text().splitlines()), key=lambda line: line["doc_id"])
    found = [[float(answer[0]) for answer in line["filtered_resps"]] for line in lines]
    expected = by_engine(adapted)
    assert [len(row) for row in found] == [len(row) for row in expected]
    for own, ours in zip(found, expected, strict=True):
        assert own == pytest.approx(ours, abs=1e-4)


def by_engine(model: PeftModel) -> list[list[float]]:
    """The log-likelihoods that ``milora eval --scorer loglik`` is made from."""
    rows = [
        ScoringRow(Prompt(f"Question: {row['question']}\nAnswer:"), tuple(f" {choice}" for choice in row["choices"]))
        for row in _ROWS
    ]
    encoder = TextEncoder(AutoTokenizer.from_pretrained("base-model"))
    active = ActiveModel(model, routing_context(model), routing_context(model))
    scores = score_choices(active, encoder, rows, micro_batch=2, max_length=None, on_step=lambda done, total: None)
    return [[choice.log_likelihood for choice in row] for row in scores]


def test_harness_pin_is_the_extras():
    pyproject = (ROOT / "py" / "pyproject.toml").read_text(encoding="utf-8")
    [command] = commands("pip install lm-eval")
    assert f'lm-eval = ["{command[-1]}"]' in pyproject
