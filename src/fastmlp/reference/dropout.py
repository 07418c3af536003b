"""Dropout in NumPy."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BLOCKS, GROUP = 16, 128
"""Blocks of the random stream for a group of units, which take eight draws of each."""


def philox(counter: tuple[Array, ...], key: tuple[int, int], rounds: int) -> list[Array]:
    """Return the four words of blocks of the stream Philox 4x32.

    Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".

    Parameters
    ----------
    counter
        Four arrays of words of 32 bits that broadcast together, of dtype uint64.
    key
        Two words.
    rounds
        10 are usual; 7 are the fewest that pass all of the paper's tests.
    """
    low, shift = np.uint64(2**32 - 1), np.uint64(32)
    c0, c1, c2, c3 = np.broadcast_arrays(*counter)
    key0, key1 = key
    for _ in range(rounds):
        product0, product1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0 = (product1 >> shift) ^ c1 ^ np.uint64(key0)
        c2 = (product0 >> shift) ^ c3 ^ np.uint64(key1)
        c1, c3 = product1 & low, product0 & low
        key0, key1 = (key0 + 0x9E3779B9) % 2**32, (key1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def factors(
    chance: float, seed: int, epoch: int, layer: int, samples: Array, width: int, dtype: Any
) -> Array:
    """Return what dropout multiplies the inputs of a layer by.

    An input is 0 with the chance p, rounded to a multiple of 2^-16, and 1 / (1 - p) otherwise, so
    that its mean stays (Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014, "Dropout: a
    simple way to prevent neural networks from overfitting"; the division is done in training,
    section 10). The draw of unit u of a sample is one of 16 bits of the Philox stream with the key
    `seed`, number u / 16 mod 8 of the block u mod 16 of group u / 128.

    Parameters
    ----------
    chance
        In [0, 1).
    samples
        (n,) how many samples of the epoch came before each.
    width
        Of the layer's input.

    Returns
    -------
    ndarray
        (n, width) of the dtype.
    """
    threshold = min(int(chance * 65536 + 0.5), 65535)
    kept = np.dtype(dtype).type(65536 / (65536 - threshold))
    groups = -(-width // GROUP)
    number = samples.astype(np.uint64)[:, None]
    words = philox(
        (
            np.arange(groups * BLOCKS, dtype=np.uint64)[None],
            np.uint64(layer) ^ (number >> np.uint64(32) << np.uint64(16)),
            number & np.uint64(2**32 - 1),
            np.full_like(number, epoch % 2**32),
        ),
        (seed % 2**32, seed >> 32),
        rounds=7,
    )
    halves = [half for word in words for half in (word & np.uint64(0xFFFF), word >> np.uint64(16))]
    draws = np.stack([half.reshape(len(samples), groups, BLOCKS) for half in halves], axis=2)
    units = draws.reshape(len(samples), groups * GROUP)[:, :width]
    return np.asarray(np.where(units < threshold, 0, kept), dtype)
