"""Listing 6: gradients of several batches are added up before each update."""

import staticgrad.eager as torch
import staticgrad.nn as nn
import staticgrad.optim as optim

torch.manual_seed(0)
model = nn.Linear(4, 1)
loss_fn = nn.MSELoss()
optimizer = optim.SGD(model.parameters(), lr=0.05)
inputs = torch.randn(64, 4)
targets = inputs.sum(dim=1, keepdim=True)
train_loader = [(inputs[i : i + 4], targets[i : i + 4]) for i in range(0, 64, 4)]
accumulation_steps = 4
for epoch in range(10):
    for i, (data, target) in enumerate(train_loader):
        outputs = model(data)
        loss = loss_fn(outputs, target) / accumulation_steps
        loss.backward()
        if (i + 1) % accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
    print(f"epoch {epoch}: {accumulation_steps * loss.item():.4f}")
assert accumulation_steps * loss.item() < 0.1
