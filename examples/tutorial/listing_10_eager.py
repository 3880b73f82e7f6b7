"""Listing 10: y = x^2 with noise, followed through the graph and fitted."""

import staticgrad.eager as torch

torch.manual_seed(0)
# 10 samples, evenly spaced from -2 to 2
x = torch.linspace(-2, 2, 10).view(-1, 1)
# what the function gives, with some noise
y = x.pow(2) + 0.1 * torch.randn(x.size())
# a simple network
net = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
assert all(p.requires_grad for p in net.parameters())
criterion = torch.nn.MSELoss()
optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
for _ in range(1500):
    optimizer.zero_grad()
    loss = criterion(net(x), y)
    loss.backward()
    optimizer.step()
print("the last operation:", loss.grad_fn)
print("before it:", loss.grad_fn.next_functions)
print(f"loss {loss.item():.5f}, gradient of the first bias: {net[0].bias.grad[:3]}")
assert loss.item() < 0.02
