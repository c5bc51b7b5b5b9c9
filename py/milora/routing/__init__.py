"""Routing: from a prompt's hidden states to the gates of a layer's experts. Tensors and dataclasses only."""
