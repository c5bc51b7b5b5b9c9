"""BitFit on a linear module."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from milora.tuners.base import LinearAdapter, Site, new_parameter, trainable_dtype


class BitfitLinear(LinearAdapter):
    """y = base(x) + v W_p (Ben Zaken et al. 2022, sized as in arXiv 2410.18035).

    ``milora_bitfit_vector`` holds v, [vector]; ``milora_bitfit_projection`` holds W_p, [vector, out]. v is drawn and
    W_p zero, so that the bias is zero at the start.
    """

    adapter_layer_names = ("milora_bitfit_vector", "milora_bitfit_projection")

    milora_bitfit_vector: nn.ParameterDict
    milora_bitfit_projection: nn.ParameterDict

    def add_parameters(self, adapter: str, config: Any, site: Site, like: Tensor) -> None:
        """v normal with variance 1 / vector, so that a step moves the bias as far whatever the dimension."""
        vector = torch.randn(config.vector, device="cpu") / math.sqrt(config.vector)
        projection = torch.zeros(config.vector, site.out_features, device="cpu")
        self.milora_bitfit_vector[adapter] = new_parameter(vector, like)
        self.milora_bitfit_projection[adapter] = new_parameter(projection, like)

    def adapt(self, adapter: str, x: Tensor, output: Tensor) -> Tensor:
        """Adds the bias, in float32 before the one rounding, also where autocast would take the product in bf16."""
        vector, projection = self.milora_bitfit_vector[adapter], self.milora_bitfit_projection[adapter]
        dtype = trainable_dtype(output.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return output + vector.to(dtype) @ projection.to(dtype)
