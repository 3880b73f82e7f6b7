"""Contractions become matrix products, or loops where a product is too small for its own kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.compose import transposed
from staticgrad.graph.dims import Dim, product
from staticgrad.graph.expression import Expression, Infix
from staticgrad.graph.node import Node, Op, TensorType, make_node
from staticgrad.ops.contraction import parse
from staticgrad.ops.convert import broadcast, cast
from staticgrad.ops.movement import permute, reshape_to
from staticgrad.ops.reduction import reduce_sum
from staticgrad.ops.scalar import multiply
from staticgrad.ops.table import register
from staticgrad.rewrite.rules import fire

#: below this many multiplications (m n k) a kernel's overhead is more than the product
SMALLEST_PRODUCT = 512
#: of a matrix whose product with a vector has a kernel of its own; other such products are loops
FEWEST_ROWS, MOST_COLUMNS = 256, 64
#: fewer columns fill no vector
FEWEST_COLUMNS = 16


class Gemm(Op):
    """The product of two matrices, or of two stacks of them, either one transposed."""

    flops = 2

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        (*batch, m, k), (*_, k2, n) = (
            shape if not flag else (*shape[:-2], shape[-1], shape[-2])
            for shape, flag in zip(
                (inputs[0].shape, inputs[1].shape),
                (attrs["transpose_a"], attrs["transpose_b"]),
                strict=True,
            )
        )
        if k != k2:
            raise ValueError(f"inner dimensions {k} and {k2} differ")
        return TensorType(inputs[0].dtype, (*batch, m, n))

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        flags = (attrs["transpose_a"], attrs["transpose_b"])
        a, b = (
            np.swapaxes(x, -1, -2) if flag else x for x, flag in zip(arrays, flags, strict=True)
        )
        return np.matmul(a, b)

    def points(self, node: Node) -> Dim:
        depth = node.inputs[0].shape[-2 if node.attrs["transpose_a"] else -1]
        return product((*node.shape, depth))

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        flags = (node.attrs["transpose_a"], node.attrs["transpose_b"])
        operands = [
            transposed(item, stacked=node.ndim > 2) if flag else item
            for item, flag in zip(arguments, flags, strict=True)
        ]
        return Infix("@", *operands, rank=node.ndim)


GEMM = register(Gemm("gemm"))


def lower_contraction(node: Node) -> Node:
    """A contraction as a matrix product, or as the sum of a product, which becomes loops."""
    a, b = node.inputs
    left, right, out = parse(node.attrs["subscripts"])
    dims = dict(zip(left + right, (*a.shape, *b.shape), strict=True))
    batch = [c for c in out if c in left and c in right]
    rows = [c for c in out if c in left and c not in right]
    columns = [c for c in out if c in right and c not in left]
    inner = [c for c in left if c not in out]
    if not _pays(node, dims, rows, columns, inner, batch):
        fire("products as loops")
        return _as_loops(a, b, left, right, out, dims)
    fire("products by kernels")
    # C = A B or, where the result has its columns first, C = B A with both transposed
    swapped = bool(rows and columns) and out.index(columns[0]) < out.index(rows[0])
    # a vector stands on the right
    swapped = swapped or (not rows and bool(columns))
    # vectors go along the columns: few of them leave lanes idle, which many rows would not
    sides = (columns, rows) if swapped else (rows, columns)
    if rows and columns and _is_thin(*(_size(c, dims) for c in (*sides, inner))):
        swapped = not swapped
    if swapped:
        a, b, left, right, rows, columns = b, a, right, left, columns, rows
    first, transpose_a = _operand(a, left, batch, rows, inner, dims)
    second, transpose_b = _operand(b, right, batch, inner, columns, dims)
    result = make_node(
        GEMM, [first, second], {"transpose_a": transpose_a, "transpose_b": transpose_b}
    )
    order = [*batch, *rows, *columns]
    result = reshape_to(result, tuple(dims[c] for c in order))
    return permute(result, [order.index(c) for c in out])


def _size(letters: Sequence[str], dims: Mapping[str, Dim]) -> Dim:
    return product(dims[c] for c in letters)


def _pays(
    node: Node,
    dims: Mapping[str, Dim],
    rows: Sequence[str],
    columns: Sequence[str],
    inner: Sequence[str],
    batch: Sequence[str],
) -> bool:
    if not node.type.is_float:
        return False
    sizes = [_size(letters, dims) for letters in (rows, columns, inner)]
    if any(size in (0, 1) for size in sizes):
        return not batch and _is_tall(node, sizes)
    known = [size for size in sizes if isinstance(size, int)]
    volume = product(known)
    if isinstance(volume, int) and len(known) == 3:
        return volume > SMALLEST_PRODUCT
    # with a named dimension, count on a typical batch of 32
    return isinstance(volume, int) and volume * 32 ** (3 - len(known)) > SMALLEST_PRODUCT


def _is_thin(rows: Dim, columns: Dim, inner: Dim) -> bool:
    """Whether a long sum of products has so few columns that moving the result costs little."""
    return (
        isinstance(rows, int) and isinstance(columns, int) and isinstance(inner, int)
        and columns < FEWEST_COLUMNS <= rows // 4 and inner >= FEWEST_ROWS
    )  # fmt: skip


def _is_tall(node: Node, sizes: Sequence[Dim]) -> bool:
    """Whether this is a matrix with many rows and few columns times a vector: the vector may stand on
    either side."""
    matrix = next((k for k in (0, 1) if node.inputs[k].ndim == 2), None)
    if matrix is None or sorted(source.ndim for source in node.inputs) != [1, 2]:
        return False
    long, short = node.inputs[matrix].shape
    return (
        isinstance(long, int) and isinstance(short, int)
        and long >= FEWEST_ROWS and 1 < short <= MOST_COLUMNS
    )  # fmt: skip


def _operand(
    node: Node,
    letters: str,
    batch: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    dims: Mapping[str, Dim],
) -> tuple[Node, bool]:
    """An operand as (batch, first, second) or with the last two transposed, without moving an
    element where the letters stand right."""
    straight, crossed = [*batch, *first, *second], [*batch, *second, *first]
    transposed = list(letters) == crossed and list(letters) != straight
    order = crossed if transposed else straight
    if list(letters) != order:
        node = permute(node, [letters.index(c) for c in order])
    lead = (_size(batch, dims),) if batch else ()
    pair = (_size(first, dims), _size(second, dims))
    shape = (*lead, *(pair[::-1] if transposed else pair))
    return reshape_to(node, shape), transposed


def _as_loops(
    a: Node, b: Node, left: str, right: str, out: str, dims: Mapping[str, Dim]
) -> Node:
    """sum(a * b) over an index space of the result's letters, then the inner ones."""
    # an axis of length one makes no matrix of a vector
    left, right, real = ("".join(c for c in text if dims[c] != 1) for text in (left, right, out))
    inner = [c for c in left if c not in real]
    rows = [c for c in real if c in left]
    columns = [c for c in real if c not in left]
    if rows and columns and not all(c in right for c in rows):
        # rows before the summed letters before columns, so that the innermost loop runs over memory
        order = rows + inner + columns
    else:
        # a matrix and a vector: the innermost loop runs over the matrix's rows
        larger = left if len(left) >= len(right) else right
        order = [*real, *inner] if larger[-1:] in inner else [*inner, *real]
    shape = tuple(dims[c] for c in order)

    def aligned(node: Node, letters: str) -> Node:
        node = reshape_to(node, tuple(dims[c] for c in letters))
        present = [c for c in order if c in letters]
        node = permute(node, [letters.index(c) for c in present])
        return broadcast(
            reshape_to(node, tuple(dims[c] if c in letters else 1 for c in order)), shape
        )

    result = multiply(aligned(a, left), aligned(b, right))
    # sums of int32 are int64, products of matrices are not
    result = cast(reduce_sum(result, [order.index(c) for c in inner]), a.dtype)
    kept = [c for c in order if c not in inner]
    result = permute(result, [kept.index(c) for c in real])
    return reshape_to(result, tuple(dims[c] for c in out))
