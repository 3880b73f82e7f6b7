"""Training steps: loss, gradients, clipping and the optimizer's rule in one compiled function."""

from staticgrad.training.checkpoint import load_checkpoint, save_checkpoint
from staticgrad.training.fit import History
from staticgrad.training.step import TrainStep, train_step

__all__ = ["History", "TrainStep", "load_checkpoint", "save_checkpoint", "train_step"]
