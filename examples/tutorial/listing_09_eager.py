"""Listing 9: SimpleNet with SGD."""

import staticgrad.eager as torch
import staticgrad.nn as nn
import staticgrad.nn.functional as F


# the model
class SimpleNet(nn.Module):
    def __init__(self):
        super(SimpleNet, self).__init__()  # noqa: UP008
        self.fc1 = nn.Linear(20, 10)  # from the inputs to the hidden layer
        self.fc2 = nn.Linear(10, 1)  # from the hidden layer to the output

    def forward(self, x):
        x = F.relu(self.fc1(x))  # through the hidden layer and ReLU
        x = self.fc2(x)  # through the output layer
        return x


torch.manual_seed(0)
net = SimpleNet()
# loss and optimizer
criterion = nn.MSELoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
# some inputs and targets
inputs = torch.randn(10, 20)  # 10 samples of 20 features
targets = torch.randn(10, 1)  # 10 targets

for _ in range(500):
    optimizer.zero_grad()
    loss = criterion(net(inputs), targets)
    loss.backward()
    optimizer.step()
print(net)
print(f"loss {loss.item():.4f}")
assert loss.item() < 0.2
