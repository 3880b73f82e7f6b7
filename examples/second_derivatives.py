"""Newton's method on Rosenbrock's function: the Hessian by applying sg.grad twice.

    python examples/second_derivatives.py
"""

import numpy as np

import staticgrad as sg

n = 5
x = sg.placeholder("x", (n,), dtype="float64")
value = sg.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
gradient = sg.grad(value, x)
hessian = sg.stack([sg.grad(gradient[row], x) for row in range(n)])
print("gradient =", gradient)

# one function computes all three, and what they share only once
evaluate = sg.compile(x, [value, gradient, hessian])

point = np.full(n, 0.5)
for iteration in range(50):
    f, g, H = evaluate(point)
    print(f"iteration {iteration}: f = {f:.3e}, |g| = {np.linalg.norm(g):.3e}")
    if np.linalg.norm(g) < 1e-10:
        break
    step = np.linalg.solve(H, -g)
    length = 1.0
    while evaluate(point + length * step)[0] > f:
        length /= 2
    point += length * step

assert np.allclose(point, 1.0)
