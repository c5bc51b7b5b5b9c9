"""(IA)³ on a linear module."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from milora.tuners.base import LinearAdapter, Site, new_parameter, trainable_dtype


class Ia3Linear(LinearAdapter):
    """y = (1 + v W_p) ⊙ base(x) (Liu et al. 2022, sized as in arXiv 2410.18035).

    ``milora_ia3_vector`` holds v, [vector]; ``milora_ia3_projection`` holds W_p, [vector, out]. v is drawn and
    W_p zero, so that the scale is one at the start.
    """

    adapter_layer_names = ("milora_ia3_vector", "milora_ia3_projection")

    milora_ia3_vector: nn.ParameterDict
    milora_ia3_projection: nn.ParameterDict

    def add_parameters(self, adapter: str, config: Any, site: Site, like: Tensor) -> None:
        """v normal with variance 1 / vector, so that a step moves the scale as far whatever the dimension."""
        vector = torch.randn(config.vector, device="cpu") / math.sqrt(config.vector)
        projection = torch.zeros(config.vector, site.out_features, device="cpu")
        self.milora_ia3_vector[adapter] = new_parameter(vector, like)
        self.milora_ia3_projection[adapter] = new_parameter(projection, like)

    def adapt(self, adapter: str, x: Tensor, output: Tensor) -> Tensor:
        """Scales the output, in float32 before the one rounding: 1 + a small number is 1 in bf16."""
        dtype = trainable_dtype(output.dtype)
        vector, projection = self.milora_ia3_vector[adapter], self.milora_ia3_projection[adapter]
        # Autocast would take v W_p in bf16.
        with torch.autocast(output.device.type, enabled=False):
            scale = 1 + vector.to(dtype) @ projection.to(dtype)
        return output * scale
