"""Names that mean something in generated code."""

from __future__ import annotations

import keyword
import re

#: names that a user's variable must not shadow in generated code
RESERVED = frozenset(
    "range njit number in_parallel in_parallel_with_place in_slices add_up first_of further short "
    "layer first start place rows min max addresses "
    "workspace_size array_at layer_at view reuse distinct rows_of reshaped flat part "
    "update matmul matmul_tn matmul_nt matmul_tt matmul_sum matmul_tn_sum matmul_nt_sum "
    "matmul_tt_sum convolve convolve_transposed correlate max_pool max_pool_spread max_pool_take "
    "scatter_runs plus times where maximum minimum absolute sign floor exp expm1 log log1p log2 sqrt "
    "rsqrt sin cos tan asin acos atan atan2 sinh cosh tanh hypot erf erfc lgamma digamma polygamma "
    "sigmoid softplus log_sigmoid logaddexp power uniform32 uniform64 isnan inf nan f32 f64 i64 i32 u8 "
    "boolean end on_arrays CONSTANTS np".split()
)


def function_name(name: str) -> str:
    """``name`` as a Python identifier that hides nothing which generated code calls."""
    cleaned = re.sub(r"\W", "_", name)
    if cleaned in RESERVED or keyword.iskeyword(cleaned):
        return f"{cleaned}_function"
    return cleaned if cleaned.isidentifier() else f"function_{cleaned}"
