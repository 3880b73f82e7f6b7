"""Regularisation: L1 and L2 terms are plain expressions, weight decay an option, dropout a layer."""

import numpy as np

import staticgrad as sg
from staticgrad import eager, nn, optim

rng = np.random.default_rng(0)
inputs = rng.standard_normal((60, 30)).astype("float32")
# three of thirty inputs matter
targets = inputs[:, :3].sum(axis=1, keepdims=True) + np.float32(0.3) * rng.standard_normal(
    (60, 1)
).astype("float32")
fresh = rng.standard_normal((1000, 30)).astype("float32")
truth = fresh[:, :3].sum(axis=1, keepdims=True)

PENALTIES = {
    "none": lambda weight: None,
    "L2": lambda weight: 0.05 * (weight**2).sum(),
    "L1": lambda weight: 0.05 * sg.abs(weight).sum(),
}


def objective(net, name, x, y):
    loss = nn.MSELoss()(net(x), y)
    penalty = PENALTIES[name](net.weight)
    return loss if penalty is None else loss + penalty


def trained_eager(name):
    sg.manual_seed(0)
    net = nn.Linear(30, 1)
    optimizer = optim.SGD(net.parameters(), lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        objective(net, name, eager.tensor(inputs), eager.tensor(targets)).backward()
        optimizer.step()
    return net


def trained_static(name):
    sg.manual_seed(0)
    net = nn.Linear(30, 1)
    x, y = sg.placeholder("x", ("batch", 30)), sg.placeholder("y", ("batch", 1))
    step = sg.train_step([x, y], objective(net, name, x, y), optim.SGD(net.parameters(), lr=0.05))
    for _ in range(600):
        step(inputs, targets)
    return net


for name in PENALTIES:
    nets = trained_eager(name), trained_static(name)
    small = (np.abs(nets[1].weight.value) < 0.03).sum()
    errors = [((net(eager.tensor(fresh)).detach().numpy() - truth) ** 2).mean() for net in nets]
    print(f"{name:<5} error on new data {errors[1]:.4f} (eager {errors[0]:.4f}), "
          f"{small} of 30 weights below 0.03")  # fmt: skip
    assert np.allclose(nets[0].weight.value, nets[1].weight.value, atol=2e-3)

# dropout: a layer that draws in training, and is the identity in evaluation
net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1))
x, y = sg.placeholder("x", ("batch", 30)), sg.placeholder("y", ("batch", 1))
loss = nn.MSELoss()(net(x), y)
net.eval()
validation = nn.MSELoss()(net(x), y)
optimizer = optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
step = sg.train_step([x, y], loss, optimizer, validation_loss=validation)
history = step.fit(inputs, targets, epochs=100, batch_size=20, seed=0, validation=(fresh, truth))
print(f"dropout and AdamW: error on new data {history.validation_loss[-1]:.4f}")
