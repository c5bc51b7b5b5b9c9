"""Rows of JSONL files."""

from __future__ import annotations

import pytest

from milora.data import Prompt, read_rows
from milora.errors import MiloraError


def write(tmp_path, *lines: str):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_plain_and_chat_rows(tmp_path):
    chat = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "ä"}]}'
    rows = read_rows(write(tmp_path, '{"prompt": "p", "answer": "b", "id": 3}', "", chat), "plain")
    assert [row.prompt for row in rows] == [Prompt("p"), Prompt(messages=(("user", "q"),))]
    assert [(row.answer, row.line) for row in rows] == [("b", 1), ("ä", 3)]
    assert read_rows(write(tmp_path, '{"prompt": "p", "answer": "b"}'), "chat")[0].prompt == Prompt.user("p")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("{", "no JSON"),
        ("[1]", "a JSON list"),
        ('{"prompt": "p"}', "no answer"),
        ('{"prompt": 3, "answer": "a"}', "prompt is int"),
        ('{"messages": []}', "at least two messages"),
        ('{"messages": [{"role": "user", "content": "q"}, {"role": "user", "content": "q"}]}', "'user'"),
        ('{"messages": [{"role": "user", "content": 1}, {"role": "assistant", "content": "a"}]}', r"messages\[0\]"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line: str, found: str):
    file = write(tmp_path, '{"prompt": "p", "answer": "a"}', line)
    with pytest.raises(MiloraError, match=found) as caught:
        read_rows(file, "plain")
    assert caught.value.code == "data/bad-row"
    assert caught.value.details["line"] == 2
    assert f"{file}:2" in caught.value.message


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(MiloraError) as missing:
        read_rows(tmp_path / "none.jsonl", "plain")
    assert missing.value.code == "input/missing-file"
    with pytest.raises(MiloraError) as empty:
        read_rows(write(tmp_path, ""), "plain")
    assert empty.value.code == "data/empty"
