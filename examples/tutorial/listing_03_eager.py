"""Listing 3: a scalar graph, its gradient, and the graph walked from its end to its leaves."""

import staticgrad.eager as torch

x = torch.tensor(1.0, requires_grad=True)
y = x * 2
z = y * y + 1
z.backward()
print(x.grad)
assert x.grad.item() == 8.0


def walk(function, depth=0):
    print("  " * depth + function.name())
    for earlier, _ in function.next_functions:
        if earlier is not None:
            walk(earlier, depth + 1)


walk((y * y + 1).grad_fn)
