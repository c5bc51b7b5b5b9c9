"""Tiny tokenizers, token rows and checkpoint folders for the unit tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from milora.data import Dataset, TokenRow

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIALS = ["<pad>", "<bos>", "<eos>", "<|im_start|>", "<|im_end|>"]


def _wrap(tokenizer: Tokenizer, adds_bos: bool, pad: str, chat: bool) -> PreTrainedTokenizerFast:
    if adds_bos:
        bos = ("<bos>", tokenizer.token_to_id("<bos>"))
        tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[bos])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token=pad, additional_special_tokens=[]
    )
    wrapped.chat_template = CHAT_TEMPLATE if chat else None
    return wrapped


def _byte_level(adds_bos: bool = True, pad: str = "<eos>", chat: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level, with a merge of a space and the letter behind it, as GPT-2 and Llama 3 have it."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*_SPECIALS, *letters, "Ġa", "Ġy"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("Ġ", "a"), ("Ġ", "y")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(_SPECIALS)
    return _wrap(tokenizer, adds_bos, pad, chat)


def _sentence_piece() -> PreTrainedTokenizerFast:
    """Puts a space before every text, as Llama 2 and Mistral do."""
    letters = [*"\n▁", *map(chr, range(33, 127))]
    merges = [("▁", letter) for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {token: i for i, token in enumerate([*_SPECIALS, *letters, *("".join(pair) for pair in merges)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(_SPECIALS)
    return _wrap(tokenizer, True, "<eos>", False)


def _random_dataset(lengths: list[tuple[int, int]], vocabulary: int = 96, seed: int = 0) -> Dataset:
    generator = torch.Generator().manual_seed(seed)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, vocabulary, (count,), generator=generator).tolist())

    return Dataset(tuple(TokenRow(ids(prompt), ids(answer)) for prompt, answer in lengths), "")


_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}


def _checkpoint(folder: Path, seed: int = 0, **sizes: Any) -> Path:
    """A random Llama with the byte-level tokenizer, saved as a checkpoint folder."""
    tokenizer = _byte_level()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                **{**_SIZES, **sizes},
                vocab_size=len(tokenizer),
                max_position_embeddings=256,
                bos_token_id=_SPECIALS.index("<bos>"),
                eos_token_id=_SPECIALS.index("<eos>"),
                pad_token_id=None,
                initializer_range=0.2,
            )
        )
    # States leave the last norm with a fixed length: a small random head could not be sure of any token.
    model.lm_head.weight.data.mul_(4)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def byte_level() -> Callable[..., PreTrainedTokenizerFast]:
    """``byte_level(adds_bos=True, pad="<eos>", chat=True)``: a tokenizer."""
    return _byte_level


@pytest.fixture
def sentence_piece() -> Callable[[], PreTrainedTokenizerFast]:
    """A tokenizer that puts a space before every text."""
    return _sentence_piece


@pytest.fixture
def random_dataset() -> Callable[..., Dataset]:
    """``random_dataset([(prompt tokens, answer tokens), ...])``."""
    return _random_dataset


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint folder; do not change it."""
    return _checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def layered_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of twelve layers of 16 MiB, and little else; do not change it."""
    sizes = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_key_value_heads": 4}
    return _checkpoint(tmp_path_factory.mktemp("layered"), **sizes, tie_word_embeddings=True)


@pytest.fixture
def own_checkpoint(tmp_path: Path) -> Path:
    """A tiny checkpoint folder to spoil."""
    return _checkpoint(tmp_path / "checkpoint")


@pytest.fixture
def silent() -> Callable[[int, int], None]:
    """An ``on_step`` that nobody listens to."""

    def on_step(done: int, total: int) -> None:
        assert 0 <= done <= total

    return on_step


@pytest.fixture
def run_op() -> Iterator[Callable[..., dict[str, Any]]]:
    """``run_op(name, **payload)``: validates, runs, and holds the output to its schema; the model is closed after."""
    import json

    from jsonschema import Draft202012Validator

    from milora.server.call import Call
    from milora.server.ops import OPS
    from milora.spec.ops import _schemas, validate_input

    def run(name: str, /, **payload: Any) -> dict[str, Any]:
        output = OPS[name](validate_input(name, payload), Call())
        Draft202012Validator(_schemas()[name]["output"]).validate(json.loads(json.dumps(output, allow_nan=False)))
        return output

    yield run
    run("closeModel")
