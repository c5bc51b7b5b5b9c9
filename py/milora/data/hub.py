"""Rows of a data set on the Hugging Face hub, through the library ``datasets``, as a JSONL file.

Only data files are read: a repository that needs a script of its own is refused by ``datasets`` itself, and code of a
repository is never trusted. Its cache, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and ``HF_DATASETS_OFFLINE`` hold as ever.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from milora.data.hub_errors import HubFailures, missing_column, unknown_split
from milora.errors import MiloraError

OnStep = Callable[[str, int, int], None]
"""Told what is being done, how much of it and of how much; raises where the caller asks it to end."""

DATASETS_REQUIREMENT = "datasets>=5.2,<6"
"""The extra ``hub`` of pyproject.toml."""

_batch = 256


@dataclass(frozen=True)
class HubSplit:
    """One split of a data set on the hub; ``config`` None is the repository's default."""

    id: str
    config: str | None
    split: str
    revision: str

    def __str__(self) -> str:
        parts = [part for part in (self.config, self.split) if part is not None]
        return f"{self.id} ({', '.join(parts)})"


@dataclass(frozen=True)
class FetchedRows:
    """What was written: ``commit`` is the revision as it was resolved; None where an offline cache does not tell."""

    rows: int
    commit: str | None
    datasets: str


def fetch_rows(place: HubSplit, columns: Sequence[str], file: Path, on_step: OnStep) -> FetchedRows:
    """Writes the columns of a split to a JSONL file, a row a line.

    Args:
        place: The split.
        columns: What to write; other columns are neither decoded nor written.
        file: Where to; replaced.
        on_step: Told about the progress.

    Raises:
        MiloraError: ``environment/missing-package`` without ``datasets``; ``data/not-found``, ``data/unreachable``,
            ``data/unreadable`` and ``data/empty`` for the repository; ``input/unknown-name`` for a revision, config,
            split or column that it lacks; ``data/bad-row`` for a value that is no JSON.
    """
    datasets = _import_datasets()
    failures = HubFailures(place.id, lambda: on_step(f"fetching {place}", 0, 1))
    failures.check()
    offline = bool(datasets.config.HF_HUB_OFFLINE)
    commit = None if offline else _resolve_commit(place, failures)
    builder = _builder(datasets, place, commit, failures)
    commit = commit or _cached_commit(place, builder)
    with failures.reading():
        builder.download_and_prepare()
    splits = list(builder.info.splits or {})
    if place.split not in splits:
        raise unknown_split(str(place), place.split, splits)
    with failures.reading():
        dataset: Any = builder.as_dataset(split=place.split)
    for column in columns:
        if column not in dataset.column_names:
            raise missing_column(str(place), column, dataset.column_names)
    _write(dataset.select_columns(list(columns)), place, file, on_step)
    return FetchedRows(len(dataset), commit, datasets.__version__)


def _import_datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MiloraError(
            "environment/missing-package",
            f"Rows of the hub need the Python package datasets, which cannot be loaded: {error}.",
            found=str(error),
            allowed=DATASETS_REQUIREMENT,
            hint=f'Run: {sys.executable} -m pip install "{DATASETS_REQUIREMENT}".',
        ) from error
    datasets.disable_progress_bars()
    return datasets


def _resolve_commit(place: HubSplit, failures: HubFailures) -> str:
    with failures.asking(place.revision):
        found = HfApi().dataset_info(place.id, revision=place.revision, timeout=30).sha
    if found is None:
        raise MiloraError("data/unreadable", f"The hub names no commit of {place.id} at {place.revision}.")
    return found


def _builder(datasets: Any, place: HubSplit, commit: str | None, failures: HubFailures) -> Any:
    # The prefix keeps `datasets` from taking a folder of that name in the working folder for the data set.
    source = f"hf://datasets/{place.id}"
    revision = commit or place.revision

    def configs() -> list[str]:
        # Offline it would name the cache's own config.
        return [] if commit is None else datasets.get_dataset_config_names(source, revision=commit)

    with failures.configuring(place.config, configs):
        return datasets.load_dataset_builder(source, place.config, revision=revision)


def _cached_commit(place: HubSplit, builder: Any) -> str | None:
    """The commit of what an offline cache gives; a pinned one must be the same."""
    cached = builder.hash if isinstance(builder.hash, str) and _is_commit(builder.hash) else None
    if _is_commit(place.revision) and cached != place.revision:
        raise MiloraError(
            "data/unreachable",
            f"{place} is asked for at the commit {place.revision}, and the cache holds {cached or 'another one'}; "
            "the hub is not asked, because offline mode is set.",
            found=cached or "no known commit",
            allowed=place.revision,
            hint="Unset HF_HUB_OFFLINE and HF_DATASETS_OFFLINE once, or ask for the commit that is there.",
        )
    return cached


def _is_commit(text: str) -> bool:
    return len(text) == 40 and all(character in "0123456789abcdef" for character in text)


def _write(dataset: Any, place: HubSplit, file: Path, on_step: OnStep) -> None:
    total = len(dataset)
    with file.open("w", encoding="utf-8") as stream:
        for start in range(0, total, _batch):
            on_step(f"writing {place}", start, total)
            rows = dataset.select(range(start, min(start + _batch, total))).to_list()
            for index, row in enumerate(rows, start):
                stream.write(_line(row, place, index) + "\n")
    on_step(f"writing {place}", total, total)


def _line(row: dict[str, Any], place: HubSplit, index: int) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        kinds = ", ".join(f"{name}: {type(value).__name__}" for name, value in row.items())
        message = f"Item {index} of {place} holds something that is no JSON ({error}); its columns: {kinds}."
        raise MiloraError("data/bad-row", message, path=f"[{index}]", found=kinds, allowed="texts, numbers") from error
