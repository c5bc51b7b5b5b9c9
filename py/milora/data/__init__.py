"""Rows of text to token ids and batches: the one place where prompts and answers are tokenised."""

from milora.data.batch import Batch, collate
from milora.data.dataset import Dataset, build_dataset
from milora.data.encoder import Prompt, TextEncoder
from milora.data.rows import TextRow, read_rows
from milora.data.token_row import TokenRow, fit_row

__all__ = [
    "Batch",
    "Dataset",
    "Prompt",
    "TextEncoder",
    "TextRow",
    "TokenRow",
    "build_dataset",
    "collate",
    "fit_row",
    "read_rows",
]
