"""A derivative of one's own, written once and used in both modes.

The sign function has the derivative zero; the straight-through estimator passes the adjoint where
the input lies in [-1, 1], so that a network with binary activations can be trained.
"""

import numpy as np

import staticgrad as sg
from staticgrad import eager, nn, optim


class Binarize(eager.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return sg.sign(x)

    @staticmethod
    def backward(ctx, adjoint):
        (x,) = ctx.saved_tensors
        return sg.where(sg.abs(x) <= 1, adjoint, 0.0)


@sg.custom_gradient
def log1pexp(x):
    """log(1 + exp(x)) with its derivative spelled out."""
    e = sg.exp(x)
    return sg.log(1 + e), lambda adjoint: adjoint * (1 - 1 / (1 + e))


array = np.array([-2.0, -0.5, 0.5, 3.0], "float32")
x = eager.tensor(array, requires_grad=True)
Binarize.apply(x).sum().backward()
print("eager: ", x.grad)

p = sg.placeholder("p", (4,))
d = sg.grad(Binarize.apply(p).sum(), p)
print("static:", d, "=", sg.compile(p, d)(array))
assert (sg.compile(p, d)(array) == x.grad.numpy()).all()
print("custom_gradient:", sg.grad(log1pexp(p).sum(), p))


class BinaryNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(2, 16)
        self.out = nn.Linear(16, 2)

    def forward(self, x):
        return self.out(Binarize.apply(self.hidden(x)))


sg.manual_seed(0)
points = np.random.default_rng(0).standard_normal((400, 2)).astype("float32")
labels = (points[:, 0] * points[:, 1] > 0).astype("int64")
net = BinaryNet()
a, b = sg.placeholder("a", ("batch", 2)), sg.placeholder("b", ("batch",), "int64")
step = sg.train_step([a, b], nn.CrossEntropyLoss()(net(a), b), optim.Adam(net.parameters(), lr=0.02))
history = step.fit(points, labels, epochs=60, batch_size=20, seed=0)
accuracy = (net(eager.tensor(points)).argmax(dim=1).numpy() == labels).mean()
print(f"a network of 16 binary units on x y > 0: {accuracy:.1%}")
assert accuracy > 0.85
