"""Contractions: one primitive, an einsum of two operands, and the products that are made of it.

Its adjoints are contractions again, with the letters in other places, so that transposes never
appear as nodes: they are read off the subscripts when the product is lowered.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.compose import transposed
from staticgrad.graph.dims import Dim, broadcast_shapes, format_dim, format_shape, product
from staticgrad.graph.expression import Contraction, Expression, Infix
from staticgrad.graph.node import GraphError, Node, Op, TensorType, located, make_node
from staticgrad.ops.convert import as_node, broadcast, cast, common_dtype, normalize_axis
from staticgrad.ops.table import method, register, sample


class Contract(Op):
    """``out[c] = sum a[a] * b[b]`` over the letters that ``subscripts`` "a,b->c" leaves out.

    Each letter of an operand occurs in the other operand or in the result, and none twice in one.
    """

    flops = 2

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        left, right, out = parse(attrs["subscripts"])
        sizes: dict[str, Dim] = {}
        for letters, operand in zip((left, right), inputs, strict=True):
            for letter, dim in zip(letters, operand.shape, strict=True):
                if sizes.setdefault(letter, dim) != dim:
                    raise ValueError(
                        f"{format_shape(inputs[0].shape)} and {format_shape(inputs[1].shape)} do "
                        f"not fit: {format_dim(sizes[letter])} against {format_dim(dim)}"
                    )
        return TensorType(inputs[0].dtype, tuple(sizes[letter] for letter in out))

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        if not node.type.is_float:
            return [None, None]
        a, b = node.inputs
        left, right, out = parse(node.attrs["subscripts"])
        return [
            contract(out, adjoint, right, b, left) if a.differentiable else None,
            contract(left, a, out, adjoint, right) if b.differentiable else None,
        ]

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        pattern = MATRIX_PATTERNS.get(attrs["subscripts"])
        if pattern is not None:
            swapped, transposed = pattern
            operands = [
                array.T if flip else array for array, flip in zip(arrays, transposed, strict=True)
            ]
            return np.matmul(*(reversed(operands) if swapped else operands))
        return np.einsum(attrs["subscripts"], *arrays, optimize=arrays[0].dtype.kind == "f")

    def points(self, node: Node) -> Dim:
        left, right, _ = parse(node.attrs["subscripts"])
        sizes: dict[str, Dim] = {}
        for letters, operand in zip((left, right), node.inputs, strict=True):
            sizes.update(zip(letters, operand.shape, strict=True))
        return product(sizes.values())

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        subscripts = node.attrs["subscripts"]
        pattern = MATRIX_PATTERNS.get(subscripts) or stacked_pattern(subscripts)
        if pattern is None:
            return Contraction(subscripts, *arguments, rank=node.ndim)
        operands = [
            transposed(item, stacked=source.ndim > 2) if flip else item
            for item, source, flip in zip(arguments, node.inputs, pattern[1], strict=True)
        ]
        if pattern[0]:
            operands.reverse()
        return Infix("@", *operands, rank=node.ndim)


#: subscripts that print with ``@``: whether the operands change places, and which are transposed
MATRIX_PATTERNS = {
    "ab,bc->ac": (False, (False, False)),
    "ab,ac->bc": (False, (True, False)),
    "ab,cb->ac": (False, (False, True)),
    "ab,ca->bc": (False, (True, True)),
    "ab,ac->cb": (True, (False, True)),
    "ab,cb->ca": (True, (True, False)),
    "ab,bc->ca": (True, (True, True)),
    "ab,ca->cb": (True, (False, False)),
    "ab,b->a": (False, (False, False)),
    "ab,a->b": (False, (True, False)),
    "a,ab->b": (False, (False, False)),
    "a,ba->b": (False, (False, True)),
    "a,a->": (False, (False, False)),
    "abc,acd->abd": (False, (False, False)),
}


def stacked_pattern(subscripts: str) -> tuple[bool, tuple[bool, bool]] | None:
    """The same for products of stacks of matrices, and of a stack with a matrix; None for others."""
    left, right, out = parse(subscripts)
    if len(out) < 3 or min(len(left), len(right)) < 2:
        return None
    batch, row, column = out[:-2], out[-2], out[-1]
    if any(letters[:-2] not in ("", batch) for letters in (left, right)):
        return None
    inner = set(left) & set(right) - set(out)
    if len(inner) != 1:
        return None
    (k,) = inner
    for swapped, (first, second) in ((False, (left, right)), (True, (right, left))):
        if set(first[-2:]) == {row, k} and set(second[-2:]) == {k, column}:
            flips = first[-1] != k, second[-1] == k
            return swapped, (flips[1], flips[0]) if swapped else flips
    return None


CONTRACT = register(Contract("contract"))


def parse(subscripts: str) -> tuple[str, str, str]:
    operands, out = subscripts.split("->")
    left, right = operands.split(",")
    return left, right, out


def contract(left: str, a: Node, right: str, b: Node, out: str) -> Node:
    """A contract node with its letters renamed in order of appearance, so that equal contractions
    have equal subscripts."""
    names: dict[str, str] = {}
    for letter in left + right:
        names.setdefault(letter, string.ascii_letters[len(names)])

    def renamed(letters: str) -> str:
        return "".join(names[letter] for letter in letters)

    subscripts = f"{renamed(left)},{renamed(right)}->{renamed(out)}"
    return make_node(CONTRACT, [a, b], {"subscripts": subscripts})


def _operands(values: Sequence[Any]) -> list[Node]:
    dtype = common_dtype(values)
    if dtype.kind == "b":
        dtype = np.dtype("int64")
    return [cast(as_node(value, dtype), dtype) for value in values]


@method()
def matmul(a: Any, b: Any) -> Node:
    """The matrix product, as ``numpy.matmul``: 1-D, 2-D, and stacks of matrices.

    Shapes: (k,)(k,) -> (); (m, k)(k, n) -> (m, n); (..., m, k)(..., k, n) -> (..., m, n), where the
    leading axes broadcast; a 1-D operand counts as a row on the left and as a column on the right.

    Raises GraphError where the inner dimensions differ or an operand is a scalar.
    """
    first, second = _operands([a, b])
    if first.ndim == 0 or second.ndim == 0:
        raise located(ValueError("operands need at least one axis; use *"), "matmul",
                      [first, second])  # fmt: skip
    inner = second.shape[-2] if second.ndim > 1 else second.shape[0]
    if first.shape[-1] != inner:
        raise located(
            ValueError(
                f"{format_shape(first.shape)} @ {format_shape(second.shape)}: the inner dimensions "
                f"{format_dim(first.shape[-1])} and {format_dim(inner)} differ"
            ),
            "matmul",
            [first, second],
        )
    try:
        batch = broadcast_shapes(first.shape[:-2], second.shape[:-2])
    except ValueError as error:
        raise located(error, "matmul", [first, second]) from None
    left, right = "ik"[2 - min(first.ndim, 2) :], "kj"[: min(second.ndim, 2)]
    out = left[:-1] + right[1:]
    letters = string.ascii_uppercase[: len(batch)]
    if first.ndim > 2 and first.shape[:-2] != batch:
        first = broadcast(first, (*batch, *first.shape[-2:]))
    if second.ndim > 2 and second.shape[:-2] != batch:
        second = broadcast(second, (*batch, *second.shape[-2:]))
    left = letters + left if first.ndim > 2 else left
    right = letters + right if second.ndim > 2 else right
    return contract(left, first, right, second, letters + out)


def outer(a: Any, b: Any) -> Node:
    """``result[i, j] = a[i] * b[j]`` for 1-D operands (others are flattened, as in NumPy)."""
    from staticgrad.ops.movement import reshape

    first, second = (
        node if node.ndim == 1 else reshape(node, (-1,)) for node in _operands([a, b])
    )
    return contract("i", first, "j", second, "ij")


def vecdot(a: Any, b: Any, axis: int = -1) -> Node:
    """The sum of products along ``axis`` of two arrays that broadcast."""
    from staticgrad.ops.reduction import sum

    return sum(as_node(a) * b, axis=axis)


def tensordot(a: Any, b: Any, axes: Any = 2) -> Node:
    """Sum over pairs of axes: the last ``axes`` of ``a`` with the first of ``b``, or the two lists
    of axes given, as ``numpy.tensordot``.

    Raises GraphError where the dimensions of a pair differ.
    """
    first, second = _operands([a, b])
    if isinstance(axes, int):
        pairs = [(first.ndim - axes + k, k) for k in range(axes)]
    else:
        lists = [[item] if isinstance(item, int) else list(item) for item in axes]
        pairs = [
            (normalize_axis(p, first.ndim), normalize_axis(q, second.ndim))
            for p, q in zip(*lists, strict=True)
        ]
    left = list(string.ascii_lowercase[: first.ndim])
    right = list(string.ascii_uppercase[: second.ndim])
    for p, q in pairs:
        right[q] = left[p]
    out = [letter for letter in left if letter not in right]
    out += [letter for letter in right if letter not in left]
    return contract("".join(left), first, "".join(right), second, "".join(out))


@method()
def einsum(subscripts: str, *operands: Any) -> Node:
    """Einstein summation, as ``numpy.einsum``: ellipsis, repeated letters and the implicit result
    included. More than two operands are contracted two at a time, from the left.

    Raises GraphError where the subscripts do not fit the operands.
    """
    if not isinstance(subscripts, str):
        raise GraphError("einsum: the first argument is the subscripts, as 'ij,jk->ik'")
    nodes = _operands(operands)
    try:
        terms, out = _parse_einsum(subscripts, nodes)
        result_letters, result = _single(terms[0], nodes[0], "".join(terms[1:]) + out)
        for position in range(1, len(nodes)):
            later = "".join(terms[position + 1 :]) + out
            letters, node = _single(terms[position], nodes[position], result_letters + later)
            result_letters, result = _pair(result_letters, result, letters, node, later)
        return _arrange(result_letters, result, out)
    except (ValueError, KeyError) as error:
        if isinstance(error, GraphError):
            raise
        raise located(ValueError(f"'{subscripts}': {error}"), "einsum", nodes) from None


def _parse_einsum(subscripts: str, nodes: Sequence[Node]) -> tuple[list[str], str]:
    """The letters of each operand and of the result; an ellipsis becomes capital letters."""
    text = subscripts.replace(" ", "")
    inputs, arrow, out = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(nodes):
        raise ValueError(f"{len(terms)} terms for {len(nodes)} operands")
    used = {letter for letter in text if letter.isalpha()}
    spare = [letter for letter in string.ascii_letters[::-1] if letter not in used]
    widest = 0
    for position, (term, node) in enumerate(zip(terms, nodes, strict=True)):
        letters = term.replace("...", "")
        if not all(letter.isalpha() for letter in letters):
            raise ValueError(f"cannot read the term {term!r}")
        rank = node.ndim - len(letters)
        if rank < 0 or (rank > 0 and "..." not in term):
            raise ValueError(f"the term {term!r} does not fit {node.ndim} axes")
        widest = max(widest, rank)
        terms[position] = term.replace("...", "".join(spare[:rank][::-1]))
    ellipsis = "".join(spare[:widest][::-1])
    if not arrow:
        joined = "".join(terms)
        once = sorted(l for l in set(joined) if joined.count(l) == 1 and l not in ellipsis)
        return terms, ellipsis + "".join(once)
    out = out.replace("...", ellipsis)
    missing = [letter for letter in out if letter not in "".join(terms)]
    if missing or len(set(out)) != len(out):
        raise ValueError("every letter of the result must occur in an operand, and once only")
    return terms, out


def _single(letters: str, node: Node, needed: str) -> tuple[str, Node]:
    """One operand with repeated letters on the diagonal, and without letters nobody else has."""
    from staticgrad.ops.diagonals import diagonal
    from staticgrad.ops.reduction import reduce_sum

    while len(set(letters)) != len(letters):
        letter = next(l for l in letters if letters.count(l) > 1)
        first = letters.index(letter)
        second = letters.index(letter, first + 1)
        if node.shape[first] != node.shape[second]:
            raise ValueError(f"the axes of letter {letter} have different sizes")
        node = diagonal(node, axis1=first, axis2=second)
        letters = letters[:first] + letters[first + 1 : second] + letters[second + 1 :] + letter
    lonely = [axis for axis, letter in enumerate(letters) if letter not in needed]
    kept = "".join(letter for letter in letters if letter in needed)
    return kept, reduce_sum(node, lonely)


def _pair(left: str, a: Node, right: str, b: Node, later: str) -> tuple[str, Node]:
    """Two operands into one, keeping the letters that are needed later."""
    # an axis of length one broadcasts against the other operand's
    for letter in set(left) & set(right):
        p, q = a.shape[left.index(letter)], b.shape[right.index(letter)]
        if p != q and p == 1:
            a = _widen(a, left.index(letter), q)
        elif p != q and q == 1:
            b = _widen(b, right.index(letter), p)
    out = "".join(dict.fromkeys(letter for letter in left + right if letter in later))
    return out, contract(left, a, right, b, out)


def _widen(node: Node, axis: int, dim: Dim) -> Node:
    return broadcast(node, (*node.shape[:axis], dim, *node.shape[axis + 1 :]))


def _arrange(letters: str, node: Node, out: str) -> Node:
    from staticgrad.ops.movement import permute_dims

    if letters == out:
        return node
    return permute_dims(node, tuple(letters.index(letter) for letter in out))


sample("matmul", matmul, (3, 4), (4, 5))
sample("matmul", matmul, (4,), (4,))
sample("matmul", matmul, (3, 4), (4,))
sample("matmul", matmul, (4,), (4, 3))
sample("matmul", matmul, (2, 3, 4), (2, 4, 5))
sample("matmul", matmul, (2, 3, 4), (4, 5))
sample("matmul", matmul, (20, 30), (30, 25))
sample("einsum", lambda a, b: einsum("bij,bkj->bik", a, b), (2, 3, 4), (2, 5, 4))
sample("einsum", lambda a, b: einsum("ij,kj->ki", a, b), (9, 12), (11, 12))
sample("einsum", lambda a: einsum("ii->i", a), (4, 4))
sample("einsum", lambda a, b, c: einsum("ij,jk,k->i", a, b, c), (3, 4), (4, 5), (5,))
sample("einsum", lambda a, b: einsum("...ij,...jk", a, b), (2, 3, 4), (2, 4, 2))
sample("outer", outer, (3,), (4,))
sample("tensordot", tensordot, (2, 3, 4), (3, 4, 5))
sample("tensordot", lambda a, b: tensordot(a, b, axes=([0], [1])), (3, 2), (4, 3))
sample("vecdot", vecdot, (3, 4), (4,))
