"""Listing 7 as a static graph: the same arrays, initialised in the same way."""

import numpy as np

import staticgrad as sg
from staticgrad import nn


def weights_init(module):
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)


sg.manual_seed(0)
net = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))
net.apply(weights_init)
x = sg.placeholder("x", ("batch", 20))
predict = sg.compile(x, net(x))
print(net.summary())
print(predict(np.ones((2, 20), "float32")))
