"""A base of which each rank holds a part: its memory.

That it trains alike: ``test_ranks.py``, ``test_ray_ranks.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from milora.models import SHARDED_MALLOC

_LAYERS = 12
_LAYER = 4 * (4 * 512 * 512 + 3 * 512 * 2048 + 2 * 512)


@pytest.mark.skipif(sys.platform != "linux", reason="the process's memory is read from /proc")
@pytest.mark.parametrize("count", [2, 4])
def test_a_rank_holds_its_part_and_the_layers_at_work(count: int, layered_checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("sharding_process.py")), str(layered_checkpoint)]
    environment = {**os.environ, **SHARDED_MALLOC}
    processes = [
        subprocess.Popen([*command, str(rank), str(count), str(tmp_path)], env=environment, stdout=subprocess.PIPE)
        for rank in range(count)
    ]
    try:
        outputs = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * count
    part = _LAYERS * _LAYER / count
    for output in outputs:
        found = json.loads(output)
        assert part <= found["held"] <= part + 0.5 * _LAYER
        # The layer at work, the next one, and what was gathered of it before it is put into its places.
        assert found["peak"] <= part + 4 * _LAYER
