"""P-tuning v2 in an attention block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from milora.tuners.base import PrefixBlock, Site, new_parameter


class PTuningV2Block(PrefixBlock):
    """Soft tokens E W_p that the layer's own projections turn to keys and values (Liu et al. 2022).

    ``milora_p_tuning_v2_embedding`` holds E, [tokens, embedding], drawn; ``milora_p_tuning_v2_projection`` W_p,
    [embedding, D], zero at the start, so that the first soft tokens are zero, whatever the model.
    """

    adapter_layer_names = ("milora_p_tuning_v2_embedding", "milora_p_tuning_v2_projection")

    milora_p_tuning_v2_embedding: nn.ParameterDict
    milora_p_tuning_v2_projection: nn.ParameterDict

    def add_parameters(self, adapter: str, config: Any, site: Site, like: Tensor) -> None:
        """E normal with variance 1 / embedding, so that a step moves a soft token as far whatever the width."""
        embedding = torch.randn(config.tokens, config.embedding, device="cpu") / config.embedding**0.5
        projection = torch.zeros(config.embedding, site.in_features, device="cpu")
        self.milora_p_tuning_v2_embedding[adapter] = new_parameter(embedding, like)
        self.milora_p_tuning_v2_projection[adapter] = new_parameter(projection, like)

    def soft_tokens(self, adapter: str) -> Tensor:
        """The same for every prompt, [1, tokens, D]."""
        embedding, projection = self.milora_p_tuning_v2_embedding[adapter], self.milora_p_tuning_v2_projection[adapter]
        return (embedding @ projection)[None]
