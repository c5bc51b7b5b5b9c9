"""Validation of what arrives from TypeScript against the schemas generated there."""

from milora.spec.ops import op_names, validate_input

__all__ = ["op_names", "validate_input"]
