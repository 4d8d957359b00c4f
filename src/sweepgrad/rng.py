"""Random numbers as a pure function of a key, without a generator or state.

A key is a 64-bit word mixed from (seed, purpose, epoch, step, ...). The i-th random word of a key is a hash
of key + i, so every number can be computed alone, in any order, by any worker, with the same result. The hash
is SplitMix64 (Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014), one
multiply-xor chain per word, which native code computes too.
"""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_ALL_32, _ALL_64 = 2**32 - 1, 2**64 - 1
_CHUNK = 1 << 15


def key(seed: int, purpose: str, *counters: int) -> int:
    """Return the key of one use of random numbers: 64 bits that differ for different arguments.

    Arguments:
        seed: the run's seed.
        purpose: the use of the numbers ("dropout", "order", ...); different uses never share numbers.
        counters: epoch, step, layer, ...
    """
    text = "/".join([purpose, str(seed), *map(str, counters)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def bits(key: int, n: int, first: int = 0, step: int = 1) -> NDArray[np.uint64]:
    """Return random words of `key`, shape (n,): those numbered first, first + step, first + 2 step, ...

    A column of a table of random words can be drawn alone: column j of D has first = j and step = D.
    """
    x = np.arange(n, dtype=np.uint64)
    x *= np.uint64(step)
    x += np.uint64(first)
    return _words(key, x)


def fold(key: int, *counters: int) -> int:
    """Return a key derived from a key: its `counters[0]`-th word, of that the `counters[1]`-th, and so on.

    This is cheap enough for native code to do at every step.
    """
    for counter in counters:
        word = (key + (counter + 1) * int(_GOLDEN)) & _ALL_64
        word = (word ^ (word >> 30)) * int(_MIX_1) & _ALL_64
        word = (word ^ (word >> 27)) * int(_MIX_2) & _ALL_64
        key = word ^ (word >> 31)
    return key


def words(key: int, n: int) -> NDArray[np.uint32]:
    """Return random words of 32 bits, shape (n,); they are cheaper than `bits`, for dropout.

    The i-th word is a hash of i and the key, which must be well mixed, as by `key` and `fold`. The hash has
    two rounds of xorshift and multiply, with the best constants of Wellons, "Prospecting for hash functions"
    (2018), and half of the key is added before each.
    """
    x = np.arange(n, dtype=np.uint32)
    x += np.uint32(key & _ALL_32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= np.uint32(key >> 32)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def threshold(probability: float) -> np.uint32:
    """Return the number that a word of `words` is below with this probability, up to 2⁻³²."""
    return np.uint32(min(probability * 2.0**32, _ALL_32))


def uniform(key: int, shape: tuple[int, ...], first: int = 0, step: int = 1) -> NDArray[np.float64]:
    """Return uniform numbers in [0, 1): the top 53 bits of each word, so every value is exact in float64.

    Arguments:
        first, step: the words to use, as in `bits`.
    """
    drawn = bits(key, int(np.prod(shape, dtype=np.int64)), first, step)
    drawn >>= np.uint64(11)
    u = drawn.astype(np.float64)
    u *= 2.0**-53
    return u.reshape(shape)


def normal(key: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return standard normal numbers, by the transform of Box & Muller (1958)."""
    n = int(np.prod(shape, dtype=np.int64))
    u = uniform(key, (2, n))
    z: NDArray[np.float64] = np.sqrt(-2.0 * np.log1p(-u[0])) * np.cos(2.0 * np.pi * u[1])
    return z.reshape(shape)


def permutation(key: int, n: int) -> NDArray[np.int64]:
    """Return the numbers 0 to n-1 in random order, shape (n,): sorted by their words.

    The lowest bits of each word are replaced by its number, so that one array is sorted in place. Where the
    other bits are equal (about 50 pairs in 10 million), the whole words decide.
    """
    if n < 2:
        return np.arange(n, dtype=np.int64)
    lowest = np.uint64((1 << (n - 1).bit_length()) - 1)
    words = np.arange(n, dtype=np.uint64)
    for start in range(0, n, _CHUNK):
        some = words[start : start + _CHUNK]
        some |= _words(key, some.copy()) & ~lowest
    words.sort()
    _settle_ties(key, words, lowest)
    words &= lowest
    return words.view(np.int64)


def _settle_ties(key: int, words: NDArray[np.uint64], lowest: np.uint64) -> None:
    """Sort entries with equal upper bits by their whole words."""
    tied = []
    for start in range(0, words.size - 1, _CHUNK):
        some = words[start : start + _CHUNK + 1]
        pairs = start + np.flatnonzero((some[1:] ^ some[:-1]) <= lowest)
        tied += [pairs, pairs + 1]
    places = np.unique(np.concatenate(tied))
    numbers = words[places] & lowest
    # All at once: the entries are in the order of their upper bits already. No two words of a key are equal,
    # since each step of the hash is invertible.
    words[places] = words[places][np.argsort(_words(key, numbers))]


def _words(key: int, x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the words of `key` with the numbers x (n,), computed in place."""
    for start in range(0, x.size, _CHUNK):  # in chunks that fit the cache
        z = x[start : start + _CHUNK]
        z += np.uint64(1)
        z *= _GOLDEN
        z += np.uint64(key)
        z ^= z >> np.uint64(30)
        z *= _MIX_1
        z ^= z >> np.uint64(27)
        z *= _MIX_2
        z ^= z >> np.uint64(31)
    return x
