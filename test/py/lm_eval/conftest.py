"""A tiny model with a byte-level tokenizer, and lm-evaluation-harness' requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

_SPECIALS = ["<pad>", "<bos>", "<eos>"]


def _byte_level() -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate([*_SPECIALS, *letters])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(_SPECIALS)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers, as a checkpoint folder; do not change it."""
    folder = tmp_path_factory.mktemp("harness") / "base-model"
    tokenizer = _byte_level()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.2,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def base(base_folder: Path) -> PreTrainedModel:
    """The tiny model, without an adapter."""
    return LlamaForCausalLM.from_pretrained(base_folder, dtype=torch.float32).eval()


@pytest.fixture
def tokenizer(base_folder: Path) -> Any:
    """The tiny model's tokenizer."""
    return AutoTokenizer.from_pretrained(base_folder)


@pytest.fixture
def as_requests() -> Callable[[str, Sequence[tuple[str, ...]]], list[Any]]:
    """``as_requests("loglikelihood", [(context, continuation), …])``: the harness' requests."""
    from lm_eval.api.instance import Instance

    def build(kind: Any, arguments: Sequence[tuple[str, ...]]) -> list[Any]:
        return [Instance(kind, {}, entry, index) for index, entry in enumerate(arguments)]

    return build
