"""What word vectors can be asked: which words are alike, and what is to one as others are."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.similarity import Pairs, compared, unit
from smalgos.algorithms.blazingtext.word_model import WordVectorsModel
from smalgos.errors import UserError

Asked = str | NDArray[Any] | tuple[Any, float]
CELLS = 1 << 24  # questions times words that are scored at once


class KeyedVectors:
    """The vectors of a model by word.

    Parameters
    ----------
    model : WordVectorsModel
    """

    def __init__(self, model: WordVectorsModel) -> None:
        self.model = model

    @property
    def words(self) -> list[str]:
        """All words, the most frequent first."""
        return self.model.words.words

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each of them came."""
        return self.model.words.counts

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Their vectors (n, d)."""
        return self.model.vectors

    def __len__(self) -> int:
        return len(self.model.words)

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and int(self.model.words.find([word])[0]) >= 0

    def __getitem__(self, asked: str | Sequence[str]) -> NDArray[np.float32]:
        """The vector (d,) of a word, or those (n, d) of several.

        Raises
        ------
        KeyError
            For a word that is unknown, unless the model has n-grams of characters to compose it of.
        """
        alone = isinstance(asked, str)
        words = [asked] if isinstance(asked, str) else list(asked)
        vectors, known = self.model.lookup(words)
        if not self.model.max_char and not known.all():
            raise KeyError(f"the word {words[int(np.argmin(known))]!r} is unknown")
        return vectors[0] if alone else vectors

    def most_similar(
        self,
        positive: Asked | Iterable[Asked] = (),
        negative: Asked | Iterable[Asked] = (),
        topn: int = 10,
    ) -> list[tuple[str, float]]:
        """The words whose vectors point most nearly where those given do.

        Parameters
        ----------
        positive, negative : str, ndarray of shape (d,), (either, weight), or a list of these
            Vectors of length 1 are added, and taken off, before words are compared with their sum.
        topn : int

        Returns
        -------
        list of (word, cosine)
            Without the words given.

        Raises
        ------
        KeyError
            For a word that is unknown.
        """
        given = [(each, 1.0) for each in _each(positive)]
        given += [(each, -1.0) for each in _each(negative)]
        if not given:
            raise UserError("most_similar: give words that others shall be similar to")
        total, left_out = np.zeros(self.model.dim), []
        for each, sign in given:
            what, weight = each if isinstance(each, tuple) else (each, 1.0)
            if isinstance(what, str):
                left_out.append(what)
                what = self[what]
            vector = np.asarray(what, np.float32)
            if vector.shape != (self.model.dim,):
                raise UserError(
                    f"a vector of shape {vector.shape}: those of the words have {self.model.dim} "
                    "numbers"
                )
            total += sign * weight * unit(vector[None])[0]
        cosines = self.model.units @ unit(total.astype(np.float32)[None])[0]
        ids = self.model.words.find(left_out)
        cosines[ids[ids >= 0]] = -np.inf
        found = [i for i in _top(cosines, topn).tolist() if np.isfinite(cosines[i])]
        return [(self.words[i], float(cosines[i])) for i in found]

    def similarity(self, a: str, b: str) -> float:
        """The cosine of the vectors of two words."""
        x, y = unit(self[[a, b]])
        return float(x @ y)

    def distance(self, a: str, b: str) -> float:
        """1 - `similarity`."""
        return 1 - self.similarity(a, b)

    def n_similarity(self, a: Sequence[str], b: Sequence[str]) -> float:
        """The cosine of the mean vectors of two lists of words, each of length 1."""
        x, y = (unit(unit(self[list(words)]).mean(axis=0)[None])[0] for words in (a, b))
        return float(x @ y)

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word that is the least similar to the mean of all of them; unknown ones are left out.

        Raises
        ------
        UserError
            When none of them is known.
        """
        known = [word for word in words if self.model.max_char or word in self]
        if not known:
            raise UserError("doesnt_match: none of these words is known")
        vectors = unit(self[known])
        mean = unit(vectors.mean(axis=0)[None])[0]
        return known[int(np.argmin(vectors @ mean))]

    def evaluate_word_pairs(self, pairs: str | Path | Sequence[Any]) -> dict[str, Any]:
        """How well cosines agree with what people find similar.

        Parameters
        ----------
        pairs : path, or sequence of (word, word, score)
            A file of ``word word score``, parted by tabs or commas (WordSim-353, SimLex-999).

        Returns
        -------
        dict
            ``{"not_found": int, "spearmans_rho": float, "total_pairs": int}``
        """
        read = Pairs.read(pairs) if isinstance(pairs, str | Path) else Pairs.of(pairs)
        return compared(read, self.model.lookup)

    def evaluate_word_analogies(
        self, questions: str | Path | Sequence[Sequence[str]], *, most_frequent: int = 300_000,
        ignore_case: bool = True,
    ) -> tuple[float, list[dict[str, Any]]]:  # fmt: skip
        """How many questions "a is to b as c is to ...?" are answered right.

        The answer is the word, other than a, b and c, whose vector is nearest to b - a + c, by the
        cosine (Mikolov et al., NAACL 2013, equation 1).

        Parameters
        ----------
        questions : path, or sequence of (a, b, c, answer)
            A file of four words in each line; lines that begin with ``:`` name a section.
        most_frequent : int
            Only so many words take part, questions with others are left out.
        ignore_case : bool
            Take words as equal that differ in case alone.

        Returns
        -------
        accuracy : float
            Over all questions whose words are known; 0 where there are none.
        sections : list of dict
            ``{"section": str, "correct": list, "incorrect": list}`` of questions.
        """
        fold = str.casefold if ignore_case else str
        number: dict[str, int] = {}
        for i, word in enumerate(self.words[:most_frequent]):
            number.setdefault(fold(word), i)
        sections: list[dict[str, Any]] = []
        asked: list[tuple[int, tuple[str, ...]]] = []
        for section, question in _questions(questions):
            if not sections or sections[-1]["section"] != section:
                sections.append({"section": section, "correct": [], "incorrect": []})
            if all(fold(word) in number for word in question):
                asked.append((len(sections) - 1, question))
        if asked:
            ids = np.array([[number[fold(word)] for word in question] for _, question in asked])
            answers = self._answers(ids, np.array(sorted(number.values())))
            for (at, question), right in zip(asked, answers == ids[:, 3], strict=True):
                sections[at]["correct" if right else "incorrect"].append(question)
        right = sum(len(section["correct"]) for section in sections)
        return right / len(asked) if asked else 0.0, sections

    def _answers(self, ids: NDArray[Any], allowed: NDArray[Any]) -> NDArray[np.intp]:
        """The answer (n,) to each of some questions."""
        units, out = self.model.units, np.empty(len(ids), np.intp)
        among = units[allowed]
        where = np.zeros(len(units), np.intp)
        where[allowed] = np.arange(len(allowed))
        size = max(CELLS // len(allowed), 1)
        for first in range(0, len(ids), size):
            a, b, c = ids[first : first + size, :3].T
            scores = (units[b] - units[a] + units[c]) @ among.T
            rows = np.arange(len(scores))
            for given in (a, b, c):
                scores[rows, where[given]] = -np.inf
            out[first : first + size] = allowed[scores.argmax(axis=1)]
        return out


def _each(given: Any) -> list[Any]:
    alone = isinstance(given, str | np.ndarray)
    alone = alone or (isinstance(given, tuple) and len(given) == 2 and np.isscalar(given[1])
                      and not isinstance(given[1], str))  # fmt: skip
    return [given] if alone else list(given)


def _top(values: NDArray[Any], n: int) -> NDArray[np.intp]:
    """Places of the n largest values, the largest first; of equal ones, the first."""
    n = min(max(n, 0), len(values))
    if n < len(values):
        least = np.partition(values, len(values) - n - 1)[len(values) - n - 1] if n else np.inf
        places = np.flatnonzero(values >= least)
    else:
        places = np.arange(len(values))
    order: NDArray[np.intp] = places[np.argsort(-values[places], kind="stable")][:n]
    return order


def _questions(given: str | Path | Sequence[Sequence[str]]) -> Iterator[tuple[str, Any]]:
    """(section, four words) of each question."""
    if not isinstance(given, str | Path):
        yield from (("", tuple(question)) for question in given)
        return
    try:
        lines = Path(given).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{given}: these questions cannot be read: {e}") from None
    section = ""
    for row, line in enumerate(lines, 1):
        if line.startswith(":"):
            section = line[1:].strip()
            continue
        words = tuple(line.split())
        if not words:
            continue
        if len(words) != 4:
            raise UserError(f"{given}, row {row}: {line[:60]!r} is not four words")
        yield section, words
