"""Differentiation in the graph: each kind of node has a VJP and a JVP that append nodes.

A derivative is a graph like any other: it is rewritten, planned, printed and differentiated again.
"""

from tensorlang.differentiate.forward import jvp
from tensorlang.differentiate.making import OpaqueCall
from tensorlang.differentiate.reverse import gradient, vjp

__all__ = ["OpaqueCall", "gradient", "jvp", "vjp"]
