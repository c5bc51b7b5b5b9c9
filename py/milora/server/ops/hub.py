"""``fetchHubRows``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milora.data.hub import HubSplit, fetch_rows
from milora.server.call import Call


def fetch_hub_rows(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Writes the columns of a split on the hub to a JSONL file."""
    place = HubSplit(payload["id"], payload["config"], payload["split"], payload["revision"])
    fetched = fetch_rows(place, payload["columns"], Path(payload["file"]), call.step)
    return {"rows": fetched.rows, "commit": fetched.commit, "datasets": fetched.datasets}
