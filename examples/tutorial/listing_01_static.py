"""Listing 1 as a static graph: the matrix is a constant expression, and has a value when compiled."""

import staticgrad as sg

x = sg.broadcast_to(sg.constant(0.0), (4, 4))
f = sg.compile([], x)
print(x)
print(f())
