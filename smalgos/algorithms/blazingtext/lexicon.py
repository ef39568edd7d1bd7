"""The words of a text as a part of a state: counted first, then numbered."""

from collections.abc import Callable, Mapping
from typing import Any, Self

from smalgos.algorithms.blazingtext.token_counts import TokenCounts
from smalgos.algorithms.blazingtext.vocabulary import Vocabulary
from smalgos.errors import UserError
from smalgos.formats.block import Ragged
from smalgos.learning import Part
from smalgos.learning.state import Flat

COUNTING, KNOWN = "counting.", "known."


class Lexicon(Part):
    """A vocabulary, and the counts of a text whose words are about to join it.

    Parameters
    ----------
    label_prefix : str or None
        What labels begin with; None: there are only words.
    device : str
    """

    def __init__(self, label_prefix: str | None, device: str) -> None:
        self._prefix, self._device = label_prefix, device
        self.counting: TokenCounts | None = None
        self.known: Vocabulary | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that are numbered."""
        assert self.known is not None
        return self.known

    def count(self, text: Ragged) -> None:
        """Count the tokens of some rows, beside those of the words that are known."""
        if self.counting is None:
            self.counting = TokenCounts(self._prefix, device=self._device)
            if self.known is not None:
                self.counting.add(self.known)
        self.counting.count(text)

    def close(self, min_count: int) -> Vocabulary | None:
        """Number what was counted; what was known before.

        Raises
        ------
        UserError
            When there is no word that is frequent enough, or no label.
        """
        assert self.counting is not None
        before, self.known = self.known, self.counting.close(min_count)
        self.counting = None
        return before

    # -- as a part of a state

    def snapshot(self, to_host: Callable[[Any], Any] = lambda a: a) -> Flat:
        """The arrays of both."""
        flat: Flat = {}
        for prefix, held in ((COUNTING, self.counting), (KNOWN, self.known)):
            if held is not None:
                flat |= {prefix + name: to_host(array) for name, array in held.arrays().items()}
        return flat

    def restore(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """Both, of a snapshot.

        Raises
        ------
        UserError
            Where the arrays are not those of a vocabulary.
        """
        given = {
            prefix: {
                n.removeprefix(prefix): put(a) for n, a in flat.items() if n.startswith(prefix)
            }
            for prefix in (COUNTING, KNOWN)
        }
        self.counting = self.known = None
        try:
            if given[COUNTING]:
                self.counting = TokenCounts.of(given[COUNTING], self._prefix, device=self._device)
            if given[KNOWN]:
                self.known = Vocabulary.of(given[KNOWN], self._prefix, device=self._device)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            if isinstance(e, UserError):
                raise
            raise UserError(f"the vocabulary is none: {e}") from None
        return self

    def _compare(self, flat: Mapping[str, Any]) -> None:
        pass  # `restore` looks at all of it

    def merge(self, other: "Lexicon", base: "Lexicon") -> None:
        """Add what other counted, which had counted nothing before."""
        if self.counting is not None and other.counting is not None:
            if base.counting is not None or base.known is not None:
                raise UserError("only counts that began together can be merged")
            self.counting.merge(other.counting)
