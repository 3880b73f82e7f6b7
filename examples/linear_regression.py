"""Linear regression by the update rule theta = theta - lr * dL/dtheta.

The whole step, loss, gradient and update, is one compiled function. Run it:

    python examples/linear_regression.py
"""

import numpy as np

import staticgrad as sg

# the data: three features, and a line through them with some noise
rng = np.random.default_rng(0)
features = rng.standard_normal((200, 3))
targets = features @ [2.0, -1.0, 0.5] + 3.0 + 0.1 * rng.standard_normal(200)

# the graph, declared once
x = sg.placeholder("x", ("n", 3), dtype="float64")
y = sg.placeholder("y", ("n",), dtype="float64")
theta = sg.parameter(np.zeros(3), name="theta")
bias = sg.parameter(np.zeros(()), name="bias")
prediction = x @ theta + bias
loss = sg.mse_loss(prediction, y)

# the gradients are expressions of the same graph
d_theta, d_bias = sg.grad(loss, [theta, bias])
print("dL/dtheta =", d_theta)
print("dL/dbias  =", d_bias)

learning_rate = 0.1
step = sg.compile(
    [x, y],
    loss,
    updates={theta: theta - learning_rate * d_theta, bias: bias - learning_rate * d_bias},
)

for iteration in range(101):
    value = step(features, targets)
    if iteration % 20 == 0:
        print(f"step {iteration:3d}: loss {value:.6f}")

print("theta =", theta.value.round(4), "bias =", bias.value.round(4))

# the same line by linear algebra
design = np.column_stack([features, np.ones(200)])
exact = np.linalg.lstsq(design, targets, rcond=None)[0]
print("least squares:", exact.round(4))
assert np.allclose([*theta.value, bias.value], exact, atol=1e-6)
