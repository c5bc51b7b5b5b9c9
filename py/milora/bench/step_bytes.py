"""What a decode step must read at least, by arithmetic: where memory bounds it, its time follows these bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from milora.bench.generations import LayerGates
from milora.bench.made_up import Adapter


@dataclass(frozen=True)
class StepBytes:
    """``base``: the base's weights without what is only looked up in the embedding. ``adapters``: A and B of every
    module that a row of its adapter chose. ``keys_values``: of the tokens that the rows see, half of the new ones."""

    base: int
    adapters: int
    keys_values: int

    @property
    def expected_ratio(self) -> float:
        """The base's step over this one, if bytes were all that counts."""
        without = self.base + self.keys_values
        return without / (without + self.adapters)


def base_bytes(base: PreTrainedModel) -> int:
    """Bytes of the weights that every step multiplies with."""
    looked_up: Any = base.get_input_embeddings()
    head: Any = base.get_output_embeddings()
    held = sum(parameter.nbytes for parameter in base.parameters())
    is_tied = head is not None and head.weight is looked_up.weight
    return held if is_tied else held - looked_up.weight.nbytes


def key_value_bytes(base: PreTrainedModel, rows: int, prompt_tokens: int, new_tokens: int) -> int:
    """Bytes of the keys and values that a step in the middle of the text sees."""
    config = base.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    tokens = prompt_tokens + new_tokens // 2
    return rows * tokens * config.num_hidden_layers * 2 * heads * head_size * base.dtype.itemsize


def whole_bytes(adapter: Adapter, itemsize: int) -> int:
    """Bytes of an adapter's matrices, each item of so many."""
    return itemsize * sum(tensor.numel() for tensor in adapter.tensors.values() if tensor.dim() == 2)


def adapter_bytes(adapter: Adapter, rows: Sequence[LayerGates | None], itemsize: int) -> int:
    """Bytes of an adapter's modules that any of its rows chose; without routers, of all.

    Args:
        adapter: The plan in its config tells the experts' sizes.
        rows: The gates of its rows, by decoder layer.
        itemsize: Of the dtype in which the modules are held.
    """
    plans: list[dict[str, Any]] | None = adapter.config.get("layers")
    if plans is None:
        return whole_bytes(adapter, itemsize)
    total = 0
    for plan in plans:
        layer = int(str(plan["path"]).rpartition(".")[2])
        gates = [row[layer] for row in rows if row is not None]
        for place, expert in enumerate(plan["experts"]):
            if any(own is not None and own[place] != 0 for own in gates):
                total += expert["rank"] * (expert["in_features"] + expert["out_features"])
    return itemsize * total
