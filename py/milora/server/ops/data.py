"""``loadRows``, ``exportRows``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from milora.data import build_dataset, read_rows
from milora.errors import MiloraError
from milora.server import handles
from milora.server.call import Call
from milora.server.ops import session

_check_every = 256


def load_rows(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Tokenises a file's rows; rows of the same name are replaced."""
    opened = session.current()
    rows = read_rows(Path(payload["file"]), payload["format"])
    context = opened.opened.context_length
    max_length = payload["maxLength"] if context is None else min(payload["maxLength"], context)
    on_step = session.reporter(call, "tokenising")
    try:
        dataset = build_dataset(opened.encoder, rows, max_length, on_step)
    except MiloraError as error:
        error.details.setdefault("file", payload["file"])
        raise
    opened.datasets[payload["name"]] = dataset
    return {
        "rows": len(dataset.rows),
        "promptTokens": [len(row.prompt_ids) for row in dataset.rows],
        "answerTokens": [len(row.answer_ids) for row in dataset.rows],
        "truncated": [index for index, row in enumerate(dataset.rows) if row.truncated],
        "dropped": [index for index, row in enumerate(dataset.rows) if not row.answer_ids],
        "checksum": dataset.checksum,
    }


def export_rows(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Writes an adopted iterable of mappings to a JSONL file."""
    iterable = handles.get(payload["object"])
    if not isinstance(iterable, Iterable):
        found = type(iterable).__name__
        message = f"The adopted object {payload['object']} is a {found}, not an iterable of mappings."
        raise MiloraError("input/invalid-spec", message, path="object", found=found)
    file = Path(payload["file"])
    count = 0
    with file.open("w", encoding="utf-8") as stream:
        for count, row in enumerate(iterable, 1):
            if count % _check_every == 0:
                call.check()
            stream.write(_line(row, count) + "\n")
    return {"rows": count}


def _line(row: Any, number: int) -> str:
    fields = [name for name in ("prompt", "answer", "messages") if name in row] if isinstance(row, Mapping) else []
    if "messages" not in fields and fields != ["prompt", "answer"]:
        found = f"a mapping with {', '.join(map(str, row))}" if isinstance(row, Mapping) else type(row).__name__
        message = f"Row {number} of the iterable is {found}; allowed is {{prompt, answer}} or {{messages}}."
        raise MiloraError("data/bad-row", message, line=number, found=found)
    try:
        return json.dumps({name: row[name] for name in fields}, ensure_ascii=False)
    except TypeError as error:
        message = f"Row {number} of the iterable holds something that is no JSON: {error}"
        raise MiloraError("data/bad-row", message, line=number) from error
