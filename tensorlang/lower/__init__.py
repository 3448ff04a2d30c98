"""Program to graph: sums become contractions, pointwise parts single nodes, names provenance."""

from tensorlang.lower.statements import lower

__all__ = ["lower"]
