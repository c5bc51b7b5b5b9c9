"""A model's configuration, with the text model taken out of a multimodal one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from milora.errors import MiloraError
from milora.models.checks import check_config
from milora.models.gguf import cached_folder
from milora.models.source import ModelSource

OnStep = Callable[[int, int], None]


def load_config(source: ModelSource) -> PretrainedConfig:
    """The configuration of a causal language model; reads no weights.

    Raises:
        MiloraError: ``model/not-found``, ``model/unreadable`` or ``model/unsupported``.
    """
    if source.kind == "folder":
        check_config(Path(source.location))
    try:
        config = _read(source)
    except (OSError, ValueError, KeyError) as error:
        raise _config_error(source, error) from error
    return _text_config(source, config)


def is_text_part(config: PretrainedConfig) -> bool:
    """True for a text configuration that :func:`load_config` took out of a multimodal one."""
    return bool(getattr(config, "milora_text_part", False))


def _read(source: ModelSource) -> PretrainedConfig:
    if source.kind != "gguf":
        return AutoConfig.from_pretrained(source.location, trust_remote_code=False)
    file = Path(source.location)
    folder = cached_folder(file)
    if (folder / "config.json").is_file():
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return AutoConfig.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)


def _text_config(source: ModelSource, config: PretrainedConfig) -> PretrainedConfig:
    text = config.get_text_config()
    if text is not config and type(text) in MODEL_FOR_CAUSAL_LM_MAPPING:
        text.milora_text_part = True
        return text
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return config
    raise MiloraError(
        "model/unsupported",
        f"The model {source.name} is of type {config.model_type}, which is no causal language model.",
        found=str(config.model_type),
        allowed="a decoder that transformers' AutoModelForCausalLM loads",
    )


def _config_error(source: ModelSource, error: Exception) -> MiloraError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if source.kind == "hub":
        return not_on_hub(source, text)
    if "trust_remote_code" in str(error) or "model type" in str(error) or "does not recognize" in str(error):
        message = f"The model {source.name} has an architecture that transformers does not know: {text}"
        return MiloraError("model/unsupported", message, file=source.location)
    return MiloraError("model/unreadable", f"The model {source.name} cannot be read: {text}", file=source.location)


def not_on_hub(source: ModelSource, fault: str) -> MiloraError:
    """The error for a hub id that could not be fetched; it may as well be a mistyped folder."""
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    hint = (
        "HF_HUB_OFFLINE is set: only models already in the hub cache are found."
        if offline
        else "A hub id needs the network (and a token for gated models). For a folder, check the path."
    )
    return MiloraError(
        "model/not-found",
        f"There is no folder {source.name}, and the hub model of that id could not be loaded: {fault}",
        found=source.name,
        hint=hint,
    )
