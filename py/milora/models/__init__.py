"""Models of transformers: found, described, opened, and asked for logits."""

from milora.models.answer_head import answer_states, causal_model, decoder_of, logits_at, run_decoder
from milora.models.answer_loss import answer_nll
from milora.models.atomic_folder import atomic_folder
from milora.models.attention import choose_attention, has_sdpa
from milora.models.compiling import MOST_COMPILATIONS, check_compiler, compile_failures
from milora.models.describe import LayerDescription, LinearDescription, ModelDescription, decoder_layers, describe
from milora.models.fast_decoder import fast_decoder
from milora.models.forwards import Forward, forwards_replaced, is_untouched
from milora.models.open import OpenedModel, open_model, seed_everything
from milora.models.placement import Placement, available_devices, choose_placement, is_amd
from milora.models.precision import ROUNDED
from milora.models.right_padded import right_padded
from milora.models.sharding import SHARDED_MALLOC, is_sharded, own_part, shard_base, whole_base
from milora.models.source import DEMO_MODEL, ModelSource, resolve_source

__all__ = [
    "DEMO_MODEL",
    "MOST_COMPILATIONS",
    "ROUNDED",
    "SHARDED_MALLOC",
    "Forward",
    "LayerDescription",
    "LinearDescription",
    "ModelDescription",
    "ModelSource",
    "OpenedModel",
    "Placement",
    "answer_nll",
    "answer_states",
    "atomic_folder",
    "available_devices",
    "causal_model",
    "check_compiler",
    "choose_attention",
    "choose_placement",
    "compile_failures",
    "decoder_layers",
    "decoder_of",
    "describe",
    "fast_decoder",
    "forwards_replaced",
    "has_sdpa",
    "is_amd",
    "is_sharded",
    "is_untouched",
    "logits_at",
    "open_model",
    "own_part",
    "resolve_source",
    "right_padded",
    "run_decoder",
    "seed_everything",
    "shard_base",
    "whole_base",
]
