"""Programs that run as tasks of Ray, wherever it has room: the runs of a sweep."""
