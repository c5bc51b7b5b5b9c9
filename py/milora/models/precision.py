"""Floating-point types, by what they keep of a number."""

from __future__ import annotations

import torch

ROUNDED = (torch.bfloat16, torch.float16)
"""Types that round a sum or a product to eight or eleven bits."""
