"""All that K-Nearest Neighbors needs: search of every kind, projections, votes."""

from smalgos.kernels.cpu.inverted import Lists, measure, regrouped, search_lists
from smalgos.kernels.cpu.lloyd import Lloyd
from smalgos.kernels.cpu.nearest import Points, assign, square_norms
from smalgos.kernels.cpu.nearest_top import top
from smalgos.kernels.cpu.product_quantizer import CODES, Codes, decode, encode, search_codes
from smalgos.kernels.cpu.projections import projection
from smalgos.kernels.cpu.votes import majority, mean_label, shares

__all__ = [
    "CODES",
    "Codes",
    "Lists",
    "Lloyd",
    "Points",
    "assign",
    "decode",
    "encode",
    "majority",
    "mean_label",
    "measure",
    "projection",
    "regrouped",
    "search_codes",
    "search_lists",
    "shares",
    "square_norms",
    "top",
]
