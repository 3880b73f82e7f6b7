"""Saved with safetensors, a model's state goes to PyTorch's module and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from staticgrad import eager, nn

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.peers


def test_to_pytorch_and_back(tmp_path: Path) -> None:
    import safetensors.numpy
    import safetensors.torch

    def build(module):  # type: ignore[no-untyped-def]
        return module.Sequential(
            module.Conv2d(1, 4, 3), module.BatchNorm2d(4), module.ReLU(), module.Flatten(),
            module.Linear(144, 5), module.LayerNorm(5),
        )  # fmt: skip

    ours, theirs = build(nn), build(torch.nn)
    image = np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype("float32")
    ours(eager.tensor(image))
    safetensors.numpy.save_file(ours.state_dict(), tmp_path / "ours.safetensors")
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "ours.safetensors"))
    ours.eval(), theirs.eval()
    wanted = theirs(torch.tensor(image)).detach().numpy()
    np.testing.assert_allclose(ours(eager.tensor(image)).detach().numpy(), wanted, atol=1e-5)
    theirs.train()(torch.tensor(image))
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    again = build(nn)
    again.load_state_dict(safetensors.numpy.load_file(tmp_path / "theirs.safetensors"))
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], value.numpy())
