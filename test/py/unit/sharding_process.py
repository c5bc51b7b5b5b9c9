"""One rank that holds a part of a base: what its memory comes to, in a process of its own.

Arguments: the checkpoint's folder, the rank, the number of ranks, a folder where they meet. Prints
``{"held", "peak"}``: anonymous bytes above what the process had before the model, behind the opening and at the most
in a pass forward and backward. What a checkpoint's file backs is no part of them.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import torch
import torch.distributed as distributed

from milora.models import choose_placement, open_model, resolve_source, shard_base


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


class _Peak:
    """The most that was held while it watched."""

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self.bytes = max(self.bytes, _anonymous())

    def close(self) -> None:
        self._done.set()
        self._thread.join()


def main(folder: str, rank: int, count: int, meeting: str) -> None:
    """See the module."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}/store-{count}", rank=rank, world_size=count)
    # The libraries' own memory.
    warm = torch.nn.Linear(64, 64)
    warm(torch.ones(1, 64)).sum().backward()
    distributed.barrier()
    before = _anonymous()
    placement = choose_placement("cpu", "float32", "eager", "none")
    model = open_model(resolve_source(folder), placement, 0, lambda _done, _of: None, to_shard=True).model
    shard_base(model, placement.device)
    held = _anonymous() - before
    # Gradients flow through all layers, as those of an adapter do.
    model.get_input_embeddings().register_forward_hook(lambda _module, _ids, output: output.requires_grad_(True))
    peak = _Peak()
    model(input_ids=torch.ones(1, 4, dtype=torch.long)).logits.sum().backward()
    peak.close()
    print(json.dumps({"held": held, "peak": peak.bytes - before}))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
