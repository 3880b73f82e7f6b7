"""Listing 7: Xavier initialisation, applied to every linear layer of a network."""

import staticgrad.eager as torch
import staticgrad.nn.init as init


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Linear") != -1:
        init.xavier_normal_(m.weight.data)


torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(20, 10), torch.nn.ReLU(), torch.nn.Linear(10, 1))
net.apply(weights_init)
print(net)
print(f"standard deviation {net[0].weight.data.std().item():.3f}, wanted {(2 / 30) ** 0.5:.3f}")
