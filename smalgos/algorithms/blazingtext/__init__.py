"""BlazingText: word vectors and a text classifier, after word2vec and fastText.

``skipgram``         Mikolov et al., "Distributed Representations of Words and Phrases and their
                     Compositionality" (NIPS 2013): each word foretells those around it.
``cbow``             the mean of the words around it foretells each word.
``batch_skipgram``   Ji et al., "Parallelizing Word2Vec in Shared and Distributed Memory"
                     (arXiv:1604.04661): the pairs of a window share their noise words.
``subwords``         Bojanowski et al., "Enriching Word Vectors with Subword Information"
                     (arXiv:1607.04606): a word is the mean of n-grams of its characters, too.
``supervised``       Joulin et al., "Bag of Tricks for Efficient Text Classification"
                     (arXiv:1607.01759): the mean of words and n-grams of words, then a softmax.

The first pass counts words; a classifier's second one looks which n-grams there are. Then the
text, as numbers, is held for all epochs, or, where it takes more than 1 GiB, read and numbered anew
in each.

Differences from the original: results do not depend on the number of threads, unless
`deterministic` is false; models can be trained on, with new words (`partial_fit`, the channel
``model``), and start from vectors of others; any sets of word similarities can be the channel
``evaluation`` (WordSim-353 is not part of this library); rows of n-grams that the training text
does not have are zeros, where the original leaves them at their random start: they take no
memory, and unknown n-grams add no noise; the model is one safe file, with ``vectors.txt``,
``vectors.bin``, ``eval.json`` or ``model.bin`` beside it.
"""

from typing import Any

from smalgos.algorithms.blazingtext.model import BlazingTextModel
from smalgos.algorithms.blazingtext.parameters import BlazingTextParameters
from smalgos.algorithms.blazingtext.state import BlazingTextState
from smalgos.formats.content_type import ContentType
from smalgos.learning.model import Algorithm

__all__ = ["ALGORITHM", "BlazingTextModel", "BlazingTextParameters", "BlazingTextState"]


def reading(p: BlazingTextParameters, content_type: ContentType | None) -> dict[str, Any]:
    """How training texts are read: of word vectors, a line may be a whole book."""
    return {} if p.classifies else {"cut_lines": True}


ALGORITHM = Algorithm(
    name="blazingtext",
    label="BlazingText",
    parameters=BlazingTextParameters,
    state=BlazingTextState,  # type: ignore[type-abstract]  # it makes one of its subclasses
    model=BlazingTextModel,  # type: ignore[type-abstract]  # as is its model
    channels=("train", "[validation]", "[evaluation]", "[model]"),
    side=("evaluation",),
    texts=("text",),
    envelope="",
    fields=("label", "prob", "vector", "word"),
    content_type="text/plain",
    reading=reading,
    answers_in_kind=True,
    estimators="word2vec text_classifier",
    scores=("accuracy", "mean_rho"),
    summary="word vectors and text classification, in the manner of word2vec and fastText",
)
