"""The Python snippets of docs/python.md run, in order, in one program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).resolve().parents[3] / "docs" / "python.md"


def test_snippets(base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base-model").symlink_to(base_folder)
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    snippets = [(found.group(1), text[: found.start()].count("\n") + 1) for found in _blocks(text)]
    assert len(snippets) == 5
    names: dict[str, object] = {}
    for code, line in snippets:
        # Blank lines ahead: a traceback then names the line of the page.
        exec(compile("\n" * line + code, str(PAGE), "exec"), names)
    experts = names["experts"]
    assert isinstance(experts, torch.Tensor)
    assert experts.shape == (1, 2, 7)
    assert experts.sum(dim=-1).unique().tolist() == [3]


def _blocks(text: str) -> list[re.Match[str]]:
    return list(re.finditer(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))
