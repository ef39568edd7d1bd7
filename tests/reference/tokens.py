"""Tokens, vocabularies and features of text as fastText has them, slowly."""

import re
from collections import Counter

WHITE = re.compile(rb"[ \n\r\t\v\f\0]")
EOS = b"</s>"


def tokens(row: bytes) -> list[bytes]:
    """What is between white space; each newline is a token, too."""
    found = []
    for line in re.split(rb"(\n)", row):
        found += [EOS] if line == b"\n" else [t for t in WHITE.split(line) if t]
    return found


def counted(rows: list[bytes]) -> Counter[bytes]:
    """How often each token comes, in order of first appearance."""
    return Counter(token for row in rows for token in tokens(row))


def vocabulary(
    rows: list[bytes], prefix: bytes | None, min_count: int
) -> tuple[list[tuple[bytes, int]], list[tuple[bytes, int]]]:
    """Words and labels with their counts, in order."""
    counts = counted(rows)
    is_label = {t: prefix is not None and t.startswith(prefix) for t in counts}
    words = [(t, n) for t, n in counts.items() if not is_label[t] and n >= min_count]
    labels = [(t, n) for t, n in counts.items() if is_label[t]]
    return sorted(words, key=lambda x: -x[1]), sorted(labels, key=lambda x: -x[1])


def fnv(text: bytes) -> int:
    """32-bit FNV-1a, over bytes with a sign."""
    h = 2166136261
    for byte in text:
        h ^= byte if byte < 128 else byte + 0xFFFFFF00
        h = h * 16777619 % 2**32
    return h


def ngrams(word: bytes, low: int, high: int) -> list[bytes]:
    """n-grams of characters of <word>: a character is a byte and the 10xxxxxx ones behind it."""
    if word == EOS:
        return []
    word = b"<" + word + b">"
    begins = [i for i, b in enumerate(word) if b & 0xC0 != 0x80] + [len(word)]
    found = []
    for i in range(len(begins) - 1):
        for n in range(1, high + 1):
            if i + n >= len(begins):
                break
            alone = n == 1 and (i == 0 or i + n == len(begins) - 1)
            if n >= low and not alone:
                found.append(word[begins[i] : begins[i + n]])
    return found


def signed(h: int) -> int:
    """32 bits as a number with a sign."""
    return h - 2**32 if h >= 2**31 else h


def features(
    row: bytes,
    words: list[bytes],
    labels: list[bytes],
    prefix: bytes | None,
    word_ngrams: int,
    buckets: int,
    low: int,
    high: int,
    pruned: dict[int, int] | None = None,
) -> tuple[list[int], list[int]]:
    """Numbers of input rows, and of labels."""
    rows, found, line = [], [], []

    def put(bucket: int) -> None:
        if pruned is None:
            rows.append(len(words) + bucket)
        elif bucket in pruned:
            rows.append(len(words) + pruned[bucket])

    for token in tokens(row):
        if token in labels:
            found.append(labels.index(token))
            continue
        if token not in words and prefix is not None and token.startswith(prefix):
            continue
        line.append(signed(fnv(token)))
        if token in words:
            rows.append(words.index(token))
        if high > 0 and buckets > 0:
            for gram in ngrams(token, low, high):
                put(fnv(gram) % buckets)
        if token == EOS:
            break
    for i in range(len(line) if buckets > 0 else 0):
        h = line[i] % 2**64
        for other in line[i + 1 : i + word_ngrams]:
            h = (h * 116049371 + other) % 2**64
            put(h % buckets)
    return rows, found
