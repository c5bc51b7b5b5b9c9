"""GGUF files: converted once, then read from the cache."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from milora.errors import MiloraError
from milora.models import choose_placement, describe, open_model, resolve_source
from milora.models.gguf import cached_folder

gguf = pytest.importorskip("gguf")

HIDDEN, FFN, VOCABULARY, HEADS = 32, 64, 300, 4


def write_gguf(file: Path) -> dict[str, numpy.ndarray]:
    """A random one-layer Llama with a byte-level vocabulary."""
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    tokens = ["<s>", "</s>", *(chr(0x100 + index) for index in range(VOCABULARY - 3)), "Āā"]
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (VOCABULARY - 2))
    writer.add_token_merges(["Ā ā"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    generator = numpy.random.default_rng(0)
    shapes = {
        "token_embd.weight": (VOCABULARY, HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "blk.0.attn_norm.weight": (HIDDEN,),
        "blk.0.ffn_norm.weight": (HIDDEN,),
        **{f"blk.0.attn_{name}.weight": (HIDDEN, HIDDEN) for name in ("q", "k", "v", "output")},
        "blk.0.ffn_gate.weight": (FFN, HIDDEN),
        "blk.0.ffn_up.weight": (FFN, HIDDEN),
        "blk.0.ffn_down.weight": (HIDDEN, FFN),
    }
    tensors = {name: generator.standard_normal(shape, dtype=numpy.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MILORA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def opened(file: Path, steps: list[int]):
    placement = choose_placement("cpu", "float32", "auto")
    return open_model(resolve_source(str(file)), placement, 0, lambda done, total: steps.append(done))


def test_a_file_is_converted_once(tmp_path, home):
    file = tmp_path / "tiny.gguf"
    tensors = write_gguf(file)
    assert len(describe(resolve_source(str(file))).layers) == 1
    assert not home.exists()
    first_steps: list[int] = []
    first = opened(file, first_steps)
    assert first_steps == [0, 1, 2, 3]
    value = first.model.get_parameter("model.layers.0.mlp.down_proj.weight")
    assert torch.equal(value, torch.from_numpy(tensors["blk.0.ffn_down.weight"]))
    assert getattr(first.model.config, "quantization_config", None) is None
    folder = cached_folder(file)
    assert folder.parent == home / "models"
    assert folder.name.startswith("tiny-")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    again_steps: list[int] = []
    again = opened(file, again_steps)
    assert again_steps == []
    same = zip(first.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    assert describe(resolve_source(str(file))).num_parameters == first.num_parameters


def test_another_content_is_another_folder(tmp_path):
    one, other = tmp_path / "a" / "tiny.gguf", tmp_path / "b" / "tiny.gguf"
    for index, file in enumerate((one, other)):
        file.parent.mkdir()
        file.write_bytes(bytes([index]) * 100)
    assert cached_folder(one) != cached_folder(other)


def test_a_conversion_that_ends_early_leaves_nothing(tmp_path, home):
    file = tmp_path / "tiny.gguf"
    write_gguf(file)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_model(resolve_source(str(file)), choose_placement("cpu", "float32", "auto"), 0, stop)
    assert not home.exists()


def test_a_file_that_is_no_gguf_is_named(tmp_path):
    file = tmp_path / "odd.gguf"
    file.write_bytes(b"no gguf at all" * 10)
    with pytest.raises(MiloraError, match=r"odd\.gguf") as caught:
        opened(file, [])
    assert caught.value.code == "model/unreadable"
    write_gguf(file)
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(MiloraError) as truncated:
        opened(file, [])
    assert truncated.value.code == "model/unreadable"
