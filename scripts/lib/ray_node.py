"""``ray_node.py PID``: the raylet that a ``ray start --block`` holds, and the command lines of what runs below it."""

from __future__ import annotations

import contextlib
import json
import sys

import psutil

(raylet,) = [one for one in psutil.Process(int(sys.argv[1])).children() if one.name() == "raylet"]
commands: list[list[str]] = []
for process in raylet.children(recursive=True):
    with contextlib.suppress(psutil.Error):
        commands.append(process.cmdline())
print(json.dumps({"raylet": raylet.pid, "commands": commands}))
