"""Listing 2 as a static graph: the addition is an expression first."""

import numpy as np

import staticgrad as sg

x = sg.placeholder("x", (4, 4))
y = x + 2
f = sg.compile(x, y)
print(f"y = {y}")
print(f(np.zeros((4, 4), "float32")))
