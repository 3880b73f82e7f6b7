"""Random numbers by position: SplitMix64, whose every number is a function of its place."""

from numba import float32, float64, int64, njit, uint64

GOLDEN = uint64(0x9E3779B97F4A7C15)
FIRST = uint64(0xBF58476D1CE4E5B9)
SECOND = uint64(0x94D049BB133111EB)


@njit
def mix(bits):
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    bits = (bits ^ (bits >> uint64(30))) * FIRST
    bits = (bits ^ (bits >> uint64(27))) * SECOND
    return bits ^ (bits >> uint64(31))


@njit
def random_bits(seed, draw, place):
    """64 random bits for one place of one draw."""
    key = mix(uint64(seed) + GOLDEN * uint64(draw + 1))
    return mix(key + GOLDEN * uint64(place + 1))


@njit
def uniform32(seed, draw, place):
    """A float32 in [0, 1), of 24 random bits."""
    return float32(int64(random_bits(seed, draw, place) >> uint64(40))) * float32(2.0**-24)


@njit
def uniform64(seed, draw, place):
    """A float64 in [0, 1), of 53 random bits."""
    return float64(int64(random_bits(seed, draw, place) >> uint64(11))) * 2.0**-53
