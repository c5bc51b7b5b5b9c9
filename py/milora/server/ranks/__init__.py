"""The open model on ranks: one process, or several as actors of Ray, that run the same operations."""
