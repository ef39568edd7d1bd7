"""Vectors of entities and addresses, and how usual pairs of them are."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block, Ragged
from smalgos.learning import TextModel, require_array, require_number


class IPInsightsModel(TextModel):
    """A table of entities, a table of prefixes, and dense layers behind it."""

    algorithm = "ipinsights"
    kernels = "ip_insights"

    entities: NDArray[np.float32]  # (num_entity_vectors, d)
    prefixes: NDArray[np.float32]  # (rows, d)
    layers: NDArray[np.float32]  # (L, d, d), inputs by outputs
    biases: NDArray[np.float32]  # (L, d)
    marks: NDArray[np.uint8]  # (num_entity_vectors,) bits that entities seen have set
    hash: str  # which tells an entity's row: its value modulo num_entity_vectors
    hash_seed: int
    offset: float  # score below which a pair is called unusual

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return int(self.entities.shape[1])

    @cached_property
    def _encoders(self) -> Any:
        return self.k.Encoders(self.entities, self.prefixes, self.layers, self.biases)

    def rows_of(self, entities: Ragged) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Rows of the table (n,), and what else tells an entity, (n,); see `entity_rows`."""
        rows = len(self.entities)
        return self.k.entity_rows(  # type: ignore[no-any-return]
            entities.values, entities.offsets, rows, self.hash_seed
        )

    def knows(self, entities: Ragged) -> NDArray[np.bool_]:
        """Whether entities were seen in training, (n,): no is certain, yes nearly so.

        Of entities not seen, a share of about u / 8 num_entity_vectors is taken for one of the u
        that were.
        """
        _, marks = self.rows_of(entities)
        found: NDArray[np.bool_] = (self.marks[marks >> 3] >> (marks & 7)) & 1 == 1
        return found

    def entity_vectors(self, entities: Ragged) -> NDArray[np.float32]:
        """Vectors (n, d); those of entities never seen are somebody's, or near 0."""
        vectors: NDArray[np.float32] = self.entities[self.rows_of(entities)[0]]
        return vectors

    def ip_vectors(self, addresses: Ragged, start: int = 0) -> NDArray[np.float32]:
        """Vectors (n, d); the first address has the row number `start` in messages."""
        pieces = self.k.pieces_of(parsed(self.k, addresses, start))
        nobody = np.zeros(len(addresses), np.int32)
        return self._encoders.score(nobody, pieces, vectors=True)[1]  # type: ignore[no-any-return]

    def predict(self, block: Block, *, verbose: bool = False, **options: Any) -> dict[str, Any]:
        """``dot_product`` (n,); if `verbose`, ``ip_embedding`` and ``entity_embedding`` (n, d)."""
        pieces = self.k.pieces_of(parsed(self.k, block["ip"], block.start))
        rows, _ = self.rows_of(block["entity"])
        scores, vectors = self._encoders.score(rows, pieces, vectors=verbose)
        found = {"dot_product": scores}
        if verbose:
            found |= {"ip_embedding": vectors, "entity_embedding": self.entities[rows]}
        return found

    def check(self) -> None:
        """Raise `UserError` unless the shapes fit."""
        require_array("entities", self.entities, (None, None))
        n, d = self.entities.shape
        if not n or not d or n >= 2**31:
            raise UserError(f"entities has shape {self.entities.shape}: too few or too many")
        require_array("prefixes", self.prefixes, (self.k.TABLE, d))
        require_array("biases", self.biases, (None, d))
        require_array("layers", self.layers, (len(self.biases), d, d))
        for name in ("entities", "prefixes", "biases", "layers"):
            if getattr(self, name).dtype != np.float32:
                raise UserError(f"{name} is not of float32")
        require_array("marks", self.marks, (n,), "u")
        if self.marks.dtype != np.uint8:
            raise UserError("marks is not of uint8")
        if self.hash != self.k.HASH:
            raise UserError(f"hash={self.hash!r}: this version knows {self.k.HASH}")
        if type(self.hash_seed) is not int or not 0 <= self.hash_seed < 2**63:
            raise UserError("hash_seed is no number from 0 to 2**63 - 1")
        require_number("offset", self.offset)


def parsed(k: Any, addresses: Ragged, start: int) -> NDArray[np.uint64]:
    """Addresses (n, 2) as numbers.

    Raises
    ------
    RowError
        For the first text that is none.
    """
    found, bad = k.parse_addresses(addresses.values, addresses.offsets)
    if bad < 0:
        return found  # type: ignore[no-any-return]
    text = addresses.row(bad).tobytes().decode("utf-8", "replace")
    text = text if len(text) <= SHOWN else text[:SHOWN] + "..."
    header = ": a header line? Remove it" if start + bad == 0 and text.isalpha() else ""
    raise RowError(
        start + bad,
        f"{text!r} is no address: IPv4 is four numbers from 0 to 255 without leading zeros "
        f"(192.0.2.1), IPv6 eight groups of hexadecimal digits (2001:db8::1){header}",
    )


SHOWN = 60  # characters of a bad address in messages
