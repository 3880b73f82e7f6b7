"""Listing 8: the training loop with Adam and the mean squared error."""

import staticgrad.eager as torch

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(20, 10), torch.nn.ReLU(), torch.nn.Linear(10, 1))
inputs = torch.randn(64, 20)
targets = inputs[:, :1] * 2 - 1
epochs = 300
# the loss
criterion = torch.nn.MSELoss()
# the optimizer
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
# training
for epoch in range(epochs):
    optimizer.zero_grad()  # forget the gradients
    outputs = net(inputs)  # forward
    loss = criterion(outputs, targets)
    loss.backward()  # backward
    optimizer.step()  # update
    if epoch % 100 == 99:
        print(f"epoch {epoch + 1}: {loss.item():.5f}")
assert loss.item() < 0.05
