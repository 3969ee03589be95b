"""Word vectors of our own: positive pointwise mutual information, then a truncated SVD.

After Levy & Goldberg 2014, *Neural word embedding as implicit matrix factorization*. They are
made once from unlabelled public stories (docs/reading.md names them) and shipped as bytes; to
read a text only the table is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.errors import MissingExtra
from fabula.reading.text import lower_words

WORDS = 12_000
SIZE = 64
WINDOW = 5
SMOOTHING = 0.75
COMMON = 1e-3  # a word's weight is COMMON / (COMMON + its frequency) (Arora et al. 2017)

Floats = npt.NDArray[np.float32]


def make_vectors(texts: Iterable[str]) -> tuple[list[str], npt.NDArray[np.int8], Floats]:
    """Make word vectors from texts.

    Args:
        texts: unlabelled stories.

    Returns:
        The words, most frequent first; their vectors as bytes, shape [words, SIZE]; and the
        weight of each word, shape [words], falling with its frequency.

    Raises:
        MissingExtra: scipy is not installed.
    """
    sparse, svds = _scipy()
    count: Counter[str] = Counter()
    lines: list[list[str]] = []
    for text in texts:
        lines.append(lower_words(text))
        count.update(lines[-1])
    words = [w for w, _ in sorted(count.items(), key=lambda kv: (-kv[1], kv[0]))[:WORDS]]
    index = {w: i for i, w in enumerate(words)}
    size = len(words)
    pairs = sparse.csr_matrix((size, size))
    for begin in range(0, len(lines), 1_000):
        flat: list[int] = []
        for line in lines[begin : begin + 1_000]:
            flat += [index.get(w, -1) for w in line] + [-1] * WINDOW
        ids = np.array(flat)
        for gap in range(1, WINDOW + 1):
            left, right = ids[:-gap], ids[gap:]
            both = (left >= 0) & (right >= 0)
            near = sparse.coo_matrix(
                (np.full(int(both.sum()), 1 / gap), (left[both], right[both])), shape=(size, size)
            ).tocsr()
            pairs = pairs + near + near.T
    total = np.asarray(pairs.sum(axis=1)).ravel() + 1e-9
    context = total**SMOOTHING
    context /= context.sum()
    cells = pairs.tocoo()
    information = np.log(cells.data / (total[cells.row] * context[cells.col]))
    keep = information > 0
    matrix = sparse.csr_matrix(
        (information[keep], (cells.row[keep], cells.col[keep])), shape=(size, size)
    )
    start = np.random.default_rng(0).standard_normal(size)
    left, strength, _ = svds(matrix, k=min(SIZE, size - 1), v0=start)
    order = np.argsort(-strength)
    vectors = left[:, order] * np.sqrt(strength[order])
    # The sign of a singular vector is arbitrary: fix it, so that the same texts give the same.
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    frequency = np.array([count[w] for w in words]) / sum(count.values())
    return words, np.round(vectors * 127).astype(np.int8), _weights(frequency)


def _weights(frequency: npt.NDArray[Any]) -> Floats:
    result: Floats = (COMMON / (COMMON + frequency)).astype(np.float32)
    return result


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy import sparse
        from scipy.sparse.linalg import svds
    except ImportError:
        raise MissingExtra("Making word vectors", "eval") from None
    return sparse, svds
