"""Listing 6 as a static graph: every fourth call updates, the others add to the sum."""

import numpy as np

import staticgrad as sg
from staticgrad import nn, optim

sg.manual_seed(0)
model = nn.Linear(4, 1)
x, y = sg.placeholder("x", ("batch", 4)), sg.placeholder("y", ("batch", 1))
loss = nn.MSELoss()(model(x), y) / 4
optimizer = optim.SGD(model.parameters(), lr=0.05)
step = sg.train_step([x, y], loss, optimizer, accumulation_steps=4)

inputs = np.random.default_rng(0).standard_normal((64, 4)).astype("float32")
targets = inputs.sum(axis=1, keepdims=True)
history = step.fit(inputs, targets, epochs=10, batch_size=4, shuffle=False)
for epoch, value in enumerate(history.loss):
    print(f"epoch {epoch}: {4 * value:.4f}")
assert 4 * history.loss[-1] < 0.1
