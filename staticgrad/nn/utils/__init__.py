"""Clipping of gradients, and parameters as one vector."""

from staticgrad.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_
from staticgrad.nn.utils.vector import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "vector_to_parameters",
]
