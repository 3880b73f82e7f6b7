"""The tensor graph: nodes, ops, types, dimensions. Knows nothing of execution or compilation."""
