"""Rows of a JSONL file: ``{prompt, answer}`` or ``{messages}``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from milora.data.encoder import Prompt
from milora.errors import MiloraError

_allowed = "a JSON object {prompt, answer} of two strings, or {messages} whose last message is the assistant's"


@dataclass(frozen=True)
class TextRow:
    """A prompt with its answer; ``line`` is its 1-based line in the file."""

    prompt: Prompt
    answer: str
    line: int


def read_rows(file: Path, prompt_format: Literal["plain", "chat"]) -> list[TextRow]:
    """Reads every row of a file; blank lines are skipped.

    Raises:
        MiloraError: ``input/missing-file``, ``data/empty``, or ``data/bad-row`` with file and line.
    """
    if not file.is_file():
        raise MiloraError("input/missing-file", f"There is no file {file}.", file=str(file))
    rows: list[TextRow] = []
    with file.open(encoding="utf-8") as stream:
        try:
            rows = [_parse(file, number, text, prompt_format) for number, text in enumerate(stream, 1) if text.strip()]
        except UnicodeDecodeError as error:
            raise MiloraError("data/bad-row", f"{file} is not UTF-8: {error}", file=str(file)) from error
    if not rows:
        raise MiloraError("data/empty", f"{file} has no rows.", file=str(file), allowed=_allowed)
    return rows


def _parse(file: Path, line: int, text: str, prompt_format: str) -> TextRow:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _bad_row(file, line, f"no JSON ({error})") from error
    if not isinstance(value, dict):
        raise _bad_row(file, line, f"a JSON {type(value).__name__}, not an object")
    if "messages" in value:
        return _chat_row(file, line, value["messages"])
    for field in ("prompt", "answer"):
        if not isinstance(value.get(field), str):
            found = f"{field} is {type(value[field]).__name__}" if field in value else f"no {field}"
            raise _bad_row(file, line, found)
    prompt = Prompt.user(value["prompt"]) if prompt_format == "chat" else Prompt(value["prompt"])
    return TextRow(prompt, value["answer"], line)


def _chat_row(file: Path, line: int, messages: Any) -> TextRow:
    if not isinstance(messages, list) or len(messages) < 2:
        raise _bad_row(file, line, "messages is not a list of at least two messages")
    turns: list[tuple[str, str]] = []
    for index, message in enumerate(messages):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            raise _bad_row(file, line, f"messages[{index}] has no role and content of type string")
        turns.append((role, content))
    role, answer = turns[-1]
    if role != "assistant":
        raise _bad_row(file, line, f"the last message is of role {role!r}")
    return TextRow(Prompt(messages=tuple(turns[:-1])), answer, line)


def _bad_row(file: Path, line: int, found: str) -> MiloraError:
    message = f"{file}:{line}: {found}; allowed is {_allowed}."
    return MiloraError("data/bad-row", message, file=str(file), line=line, found=found, allowed=_allowed)
