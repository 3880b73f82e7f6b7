"""A classifier of handwritten digits, 64-128-128-10, on scikit-learn's 1,797 images.

    pip install 'staticgrad[demo]'
    python examples/digits_classifier.py
"""

import numpy as np
from sklearn.datasets import load_digits

import staticgrad as sg

# real images of 8 x 8 pixels; every fifth one is held out
images, labels = load_digits(return_X_y=True)
images = (images / 16).astype("float32")
labels = labels.astype("int64")
held_out = np.arange(len(labels)) % 5 == 0

rng = np.random.default_rng(0)


def weight(rows, columns, name):
    """He's initialisation."""
    values = rng.standard_normal((rows, columns)) * np.sqrt(2 / rows)
    return sg.parameter(values.astype("float32"), name=name)


# the model
x = sg.placeholder("x", ("batch", 64))
y = sg.placeholder("y", ("batch",), dtype="int64")
W1, b1 = weight(64, 128, "W1"), sg.parameter(np.zeros(128, "float32"), name="b1")
W2, b2 = weight(128, 128, "W2"), sg.parameter(np.zeros(128, "float32"), name="b2")
W3, b3 = weight(128, 10, "W3"), sg.parameter(np.zeros(10, "float32"), name="b3")
hidden_1 = sg.relu(x @ W1 + b1)
hidden_2 = sg.relu(hidden_1 @ W2 + b2)
logits = hidden_2 @ W3 + b3
loss = sg.cross_entropy(logits, y)

# gradient descent with momentum, written as plain graph expressions
parameters = [W1, b1, W2, b2, W3, b3]
velocities = [sg.parameter(np.zeros_like(p.value), name=f"{p.name}_velocity") for p in parameters]
updates = {}
for p, v, gradient in zip(parameters, velocities, sg.grad(loss, parameters), strict=True):
    new_velocity = 0.9 * v - 0.02 * gradient
    updates[v] = new_velocity
    updates[p] = p + new_velocity

step = sg.compile([x, y], loss, updates=updates)
predict = sg.compile(x, sg.argmax(logits, axis=1))
print(step)

train_images, train_labels = images[~held_out], labels[~held_out]
for epoch in range(20):
    order = rng.permutation(len(train_labels))
    losses = [
        step(train_images[batch], train_labels[batch])
        for batch in np.array_split(order, len(order) // 64)
    ]
    if epoch % 5 == 4:
        correct = predict(images[held_out]) == labels[held_out]
        print(f"epoch {epoch + 1:2d}: loss {np.mean(losses):.4f}, held out {correct.mean():.1%}")

assert correct.mean() > 0.96
