"""A tiny checkpoint with a tokenizer, and rows to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from milora.data import Dataset, TokenRow

_SPECIALS = ["<pad>", "<bos>", "<eos>"]
_NUM_ROWS = 80


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with a byte-level tokenizer, as a checkpoint folder; do not change it."""
    folder = tmp_path_factory.mktemp("ground") / "base-model"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate([*_SPECIALS, *letters])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(_SPECIALS)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    config = LlamaConfig(
        vocab_size=len(wrapped),
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
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def token_rows() -> Dataset:
    """Rows of random tokens, prompts of 2 to 9 and answers of 1 to 6, each eight in order of length.

    Our session orders the rows of a step by length, transformers does not: so both make the same micro-batches.
    """
    generator = torch.Generator().manual_seed(0)

    def ids(low: int, high: int) -> tuple[int, ...]:
        count = int(torch.randint(low, high, (), generator=generator))
        return tuple(torch.randint(3, 96, (count,), generator=generator).tolist())

    rows = [TokenRow(ids(2, 10), ids(1, 7)) for _ in range(_NUM_ROWS)]
    groups = [sorted(rows[start : start + 8], key=lambda row: row.length) for start in range(0, _NUM_ROWS, 8)]
    return Dataset(tuple(row for group in groups for row in group), "")


@pytest.fixture(scope="session")
def labelled(token_rows: Dataset) -> list[dict[str, list[int]]]:
    """The same rows as transformers has them: the prompt's labels are -100."""
    return [
        {"input_ids": [*row.prompt_ids, *row.answer_ids], "labels": [-100] * len(row.prompt_ids) + [*row.answer_ids]}
        for row in token_rows.rows
    ]


@pytest.fixture(scope="session")
def pad_right() -> Callable[[list[dict[str, list[int]]]], dict[str, torch.Tensor]]:
    """A collator: pads at the right with id 0, labels with -100."""

    def collator(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in rows)

        def padded(values: list[list[int]], fill: int) -> torch.Tensor:
            return torch.tensor([line + [fill] * (width - len(line)) for line in values])

        return {
            "input_ids": padded([row["input_ids"] for row in rows], 0),
            "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0),
            "labels": padded([row["labels"] for row in rows], -100),
        }

    return collator
