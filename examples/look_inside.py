"""A page that shows how a compiled training step comes about; open it in a browser.

Run it with ``python examples/look_inside.py [page.html]``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import staticgrad as sg
from staticgrad import nn, optim


class Classifier(nn.Module):
    """Two hidden layers over 64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 128)
        self.fc2 = nn.Linear(128, 128)
        self.head = nn.Linear(128, 10)

    def forward(self, x: sg.Node) -> sg.Node:
        hidden = sg.relu(self.fc1(x))
        hidden = sg.relu(self.fc2(hidden))
        return self.head(hidden)


if __name__ == "__main__":
    sg.manual_seed(0)
    net = Classifier()
    images = sg.placeholder("images", ("batch", 64))
    labels = sg.placeholder("labels", ("batch",), dtype="int64")
    loss = sg.cross_entropy(net(images), labels)
    step = sg.train_step([images, labels], loss, optim.SGD(net.parameters(), lr=0.1))

    rng = np.random.default_rng(0)
    arrays = rng.random((64, 64), dtype="float32"), rng.integers(0, 10, 64)
    page = sys.argv[1] if len(sys.argv) > 1 else Path(tempfile.gettempdir()) / "step.html"
    print(f"open {step.explain(page, *arrays)} in a browser")
