"""Shared weights, several losses, and a residual branch that the data choose.

Eagerly, the branch is Python's ``if`` on a value. In a static graph both branches are declared, and
``where`` takes one for each sample.
"""

import numpy as np

import staticgrad as sg
import staticgrad.nn.functional as F
from staticgrad import eager, nn, optim


class Network(nn.Module):
    """An encoder that is used on two inputs, with a head for each of two tasks."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(6, 16)
        self.branch = nn.Linear(16, 16)
        self.same = nn.Linear(32, 2)  # do the two inputs have the same sign in front?
        self.size = nn.Linear(16, 1)  # how long is the first one?

    def encode(self, x):
        h = F.relu(self.encoder(x))
        longer = sg.sum(x * x, axis=1, keepdims=True) > 6.0
        return sg.where(longer, h + F.relu(self.branch(h)), h)

    def encode_one(self, x):
        """As ``encode``, for one sample, in eager mode only."""
        h = F.relu(self.encoder(x))
        if (x * x).sum() > 6.0:
            h = h + F.relu(self.branch(h))
        return h

    def forward(self, first, second):
        a, b = self.encode(first), self.encode(second)
        return self.same(sg.concat([a, b], axis=1)), self.size(a)


rng = np.random.default_rng(0)
first = rng.standard_normal((512, 6)).astype("float32")
second = rng.standard_normal((512, 6)).astype("float32")
same = (np.sign(first[:, 0]) == np.sign(second[:, 0])).astype("int64")
length = np.linalg.norm(first, axis=1, keepdims=True)


def total_loss(net, a, b, same, length):
    scores, lengths = net(a, b)
    return F.cross_entropy(scores, same) + 0.5 * F.mse_loss(lengths, length)


sg.manual_seed(0)
net = Network()
nodes = [
    sg.placeholder("first", ("batch", 6)),
    sg.placeholder("second", ("batch", 6)),
    sg.placeholder("same", ("batch",), "int64"),
    sg.placeholder("length", ("batch", 1)),
]
step = sg.train_step(nodes, total_loss(net, *nodes), optim.Adam(net.parameters(), lr=0.01))
history = step.fit(first, second, same, length, epochs=80, batch_size=32, seed=0)
print(f"loss {history.loss[0]:.3f} -> {history.loss[-1]:.3f}")
assert history.loss[-1] < 0.5 * history.loss[0]

tensors = [eager.tensor(array) for array in (first, second, same, length)]
loss = total_loss(net, *tensors)
loss.backward()
print(f"the eager loss of the same network: {loss.item():.3f}")

one = net.encode_one(eager.tensor(first[0]))
many = net.encode(eager.tensor(first))[0]
assert np.allclose(one.detach().numpy(), many.detach().numpy(), atol=1e-6)
