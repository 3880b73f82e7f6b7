"""Optimizers and schedules of the learning rate, for eager and static training alike."""

from staticgrad.ops.advice import missing_names
from staticgrad.optim import lr_scheduler
from staticgrad.optim.algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from staticgrad.optim.optimizer import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]

__getattr__ = missing_names(__name__)
