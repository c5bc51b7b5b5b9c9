"""The Python end of the bridge: what ``ts/bridge`` starts and talks to."""
