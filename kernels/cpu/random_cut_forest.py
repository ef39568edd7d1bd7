"""Random cut forests: trees, scores, streams, and what they can be asked."""

from smalgos.kernels.cpu.cut_attribution import (
    Worth,
    attribution,
    worth_attribution,
    worth_by,
    worth_of,
    worth_scores,
)
from smalgos.kernels.cpu.cut_checks import within
from smalgos.kernels.cpu.cut_density import densities
from smalgos.kernels.cpu.cut_imputation import impute
from smalgos.kernels.cpu.cut_queries import codisplacements, neighbours
from smalgos.kernels.cpu.cut_streams import CutStream
from smalgos.kernels.cpu.cut_trees import CutTrees

__all__ = [
    "CutStream",
    "CutTrees",
    "Worth",
    "attribution",
    "codisplacements",
    "densities",
    "impute",
    "neighbours",
    "within",
    "worth_attribution",
    "worth_by",
    "worth_of",
    "worth_scores",
]
