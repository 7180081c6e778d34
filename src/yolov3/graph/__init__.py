"""The graph compiler: a model's network as primitive operations, and one emitter a target."""

from .lowering import Graph, Node, lower

__all__ = ["Graph", "Node", "lower"]
