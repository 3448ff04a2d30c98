"""THE ORDER of the rewrites, each with its reason; `--without NAME` leaves one out.

A phase is walked until nothing applies any more, operands before readers.
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.ir.graph import Graph
from tensorlang.options import Options
from tensorlang.rewrite.apart import apart
from tensorlang.rewrite.blocks import blocks
from tensorlang.rewrite.collect import collect
from tensorlang.rewrite.common import share_parts
from tensorlang.rewrite.constants import fold_constants
from tensorlang.rewrite.deltas import deltas, open_deltas
from tensorlang.rewrite.dft import dft
from tensorlang.rewrite.diagonals import diagonals
from tensorlang.rewrite.distribute import distribute
from tensorlang.rewrite.engine import Applied, Row, apply
from tensorlang.rewrite.equalities import equalities
from tensorlang.rewrite.factors import open_factors
from tensorlang.rewrite.flatten import flatten
from tensorlang.rewrite.fold import (
    fold_conditions,
    fold_products,
    fold_reductions,
    fold_scalars,
    fold_views,
)
from tensorlang.rewrite.gathers import form_gathers, known_positions
from tensorlang.rewrite.hoist import hoist
from tensorlang.rewrite.kronecker import kronecker
from tensorlang.rewrite.merges import split_weights, through_merges
from tensorlang.rewrite.partitions import partitions
from tensorlang.rewrite.pool import pool, unit_rows
from tensorlang.rewrite.quadrature import quadrature
from tensorlang.rewrite.rectangles import rectangles
from tensorlang.rewrite.scalars import sink_scalars
from tensorlang.rewrite.scans import open_prefixes, scans
from tensorlang.rewrite.selections import selections
from tensorlang.rewrite.separable import separable
from tensorlang.rewrite.symmetric import once, vanishing
from tensorlang.rewrite.tables import tables
from tensorlang.rewrite.toeplitz import toeplitz
from tensorlang.rewrite.turned import share_turned

_MOST_PASSES = 4

PIPELINE: tuple[tuple[Row, ...], ...] = (
    (
        Row("fold", fold_scalars, "numbers first: they make the patterns below literal"),
        Row("fold", fold_conditions, "a mask that hyperparameters decide is none"),
        Row("fold", fold_products, "numbers and sums over one cell leave products"),
        Row("fold", fold_reductions, "a reduction over one cell is that cell"),
        Row("views", fold_views, "copies hide what is read"),
        Row("common", share_turned, "who reads a value counts below, in whatever order of axes"),
        Row("merges", through_merges, "a merged axis hides the factors behind it"),
        Row("merges", split_weights, "an index over a merged axis hides them too"),
        Row("scalars", sink_scalars, "what scales a product is a factor of it"),
        Row("constants", fold_constants, "less to order, and their values become patterns"),
        Row("symmetric", vanishing, "what is 0 needs no order"),
        Row("separable", separable, "fewer indices under each softmax, before it is opened"),
        Row("equalities", equalities, "an index that is an axis is none; its delta comes next"),
        Row("deltas", open_deltas, "a delta inside a factor hides"),
        Row("deltas", deltas, "a sum that picks one cell is no sum; before orders are compared"),
        Row("diagonals", diagonals, "what deltas and equalities leave of the values they read"),
        Row("scans", open_prefixes, "a prefix condition inside a factor hides"),
        Row("scans", scans, "a triangular sum in one pass; before its factors are moved"),
        Row("factors", open_factors, "factors over fewer indices may move to where they cost less"),
        Row("hoist", hoist, "a linear map out of a sum, judged by the flattened cost"),
        Row("collect", collect, "the other way round, by the same costs"),
        Row("distribute", distribute, "terms that lack an index, where no linear map is to move"),
        Row("pool", pool, "a mean before the map of its values, once what is added to that is out"),
        Row("pool", unit_rows, "what distributing over a sum leaves"),
        Row("separable", apart, "softmaxes side by side are attentions of their own"),
        Row("flatten", flatten, "last: it compares the orders of all that the others left"),
    ),
    (
        Row("gathers", known_positions, "before the reads that have them are copied"),
        Row("gathers", form_gathers, "a gather under a product would be done by each reader"),
        Row("symmetric", once, "fewer cells to select, on the whole product"),
        Row("selections", selections, "after orders are known, and gathers formed"),
        Row("quadrature", quadrature, "late: as a constant it would be multiplied out again"),
        Row("rectangles", rectangles, "before blocks: slices are views, picks are copies"),
        Row("blocks", blocks, "what selections leave, on the whole product"),
        Row("common", share_turned, "after nodes have their last form"),
        Row("dft", dft, "a constant that nothing above has taken apart"),
        Row("kronecker", kronecker, "a constant that nothing above has taken apart"),
        Row("toeplitz", toeplitz, "late: a product with a spectrum is one that nothing else knows"),
        Row("common", share_parts, "after nodes have their last form"),
        Row("tables", tables, "what no rule above looks into any more"),
        Row("fold", fold_scalars, "what selections leave"),
        Row("fold", fold_products, "what selections leave"),
        Row("views", fold_views, "what selections leave"),
    ),
    (Row("partitions", partitions, "last: it undoes what views did, for values that are shared"),),
)


def rewrite(graph: Graph, options: Options) -> tuple[Graph, tuple[Applied, ...]]:
    """The graph in its cheapest known form, without dead nodes, and what was done to it."""
    done: list[Applied] = []
    for phase in PIPELINE:
        rows = [row for row in phase if row.name not in options.without]
        for _ in range(_MOST_PASSES):
            graph, applied, changed = apply(graph, rows, options)
            done += applied
            if not changed:
                break
    return graph, tuple(done)


def names() -> Sequence[str]:
    """Names of all rewrites, in order."""
    return tuple(dict.fromkeys(row.name for phase in PIPELINE for row in phase))
