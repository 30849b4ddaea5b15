"""The rooms everything stands on: sizes, randomness, errors."""

import inspect
import itertools
import pickle
import random
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resload import errors, seeds
from resload.errors import ArgumentError, DecodeError, MissingPackageError, SizeError
from resload.size import LARGEST, Size, as_ladder, as_size

# -- sizes -----------------------------------------------------------------------------------------------

sides = st.integers(1, LARGEST)


@given(sides, sides)
def test_a_size_is_height_then_width(height, width):
    """However it is written: a tuple, a list, an array, a Size, words as on the command line."""
    size = Size(height, width)
    for written in (
        (height, width),
        [height, width],
        np.array([height, width]),
        size,
        str(size),
        (height, float(width)),
    ):
        assert as_size(written) == size
        assert all(type(side) is int for side in as_size(written))
    assert str(size) == f"{height}x{width}"
    assert size.pixels == height * width


@given(sides)
def test_an_int_is_a_square(side):
    """512, numpy's 512 and "512" are 512 x 512."""
    assert as_size(side) == as_size(np.int64(side)) == as_size(str(side)) == Size(side, side)


@pytest.mark.parametrize(
    "wrong",
    [0, -1, LARGEST + 1, (1, 0), (1, 2, 3), (1,), (), 1.5, (1.5, 2), "x", "1x2x3", "", "1.5", True, (True, 2), None,
     object(), float("nan"), {"height": 2}, b"ab c"],
)  # fmt: skip
def test_what_is_no_size_is_refused(wrong):
    """A SizeError that repeats what was found."""
    with pytest.raises(SizeError, match=re.escape(f"found {wrong!r}")):
        as_size(wrong)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=8))
def test_a_ladder_is_ascending_without_repeats(sizes):
    """The order in which sizes were given, and repeats, do not matter; smallest area first."""
    ladder = as_ladder(sizes)
    assert set(ladder) == {Size(*size) for size in sizes}
    assert len(ladder) == len(set(ladder))
    assert all(small.pixels <= large.pixels for small, large in itertools.pairwise(ladder))
    assert as_ladder(sizes[::-1]) == as_ladder(iter(sizes)) == as_ladder(ladder) == ladder


def test_one_size_is_a_ladder_of_one():
    """An int, a Size or a string is one size; a tuple of two ints is two sizes."""
    assert as_ladder(64) == as_ladder("64") == as_ladder(Size(64, 64)) == (Size(64, 64),)
    assert as_ladder((128, 64)) == (Size(64, 64), Size(128, 128))
    assert as_ladder([(128, 64)]) == (Size(128, 64),)
    with pytest.raises(SizeError, match=r"at least one size is needed, for example sizes=\(128, 256, 512\)"):
        as_ladder([])


# -- randomness ------------------------------------------------------------------------------------------

keys = st.tuples(
    st.integers(0, 2**40), st.integers(0, 10**6), st.sampled_from(sorted(seeds.PURPOSES)), st.integers(0, 99)
)


@given(keys, keys)
def test_randomness_is_a_function_of_its_key(one, two):
    """The same four values: the same stream. Any other: another."""
    first, second = seeds.generator(*one).bytes(16), seeds.generator(*two).bytes(16)
    assert first == seeds.generator(*one).bytes(16)
    assert (first == second) == (one == two)


def test_neighbouring_keys_share_no_stream():
    """Never a sum: (seed, epoch) and (epoch, seed), and the same numbers for two purposes, are unrelated."""
    streams = {
        seeds.generator(seed, epoch, purpose, index).bytes(16)
        for seed in range(4) for epoch in range(4) for purpose in seeds.PURPOSES for index in range(3)
    }  # fmt: skip
    assert len(streams) == 4 * 4 * len(seeds.PURPOSES) * 3
    assert len(set(seeds.PURPOSES.values())) == len(seeds.PURPOSES)


def test_streams_are_the_same_everywhere():
    """Orders and stored row orders are part of what people publish: on every machine and with every later version
    of resload and numpy, these are the values."""
    assert seeds.permutation(10, 0, 0, "order").tolist() == [9, 7, 5, 6, 8, 1, 2, 4, 3, 0]
    assert seeds.draws(3, 1, 2).tolist() == [6184015118828100808, 1023929295537967741, 4717838567158125785]
    assert seeds.generator(7, 0, "store", 1).integers(0, 1 << 32) == 867963063


@given(st.integers(0, 300), st.integers(0, 99), st.integers(0, 99))
def test_permutations_and_draws(n, seed, epoch):
    """Every number once; draws fit a signed 64-bit seed."""
    assert sorted(seeds.permutation(n, seed, epoch, "order").tolist()) == list(range(n))
    draws = seeds.draws(n, seed, epoch)
    assert draws.dtype == np.uint64
    assert len(draws) == n
    assert (draws < 2**63).all()


def test_global_generators_are_left_alone():
    """random, numpy and torch neither change what we draw nor are changed by it."""
    before = random.getstate(), str(np.random.get_state()), torch.random.get_rng_state()  # noqa: NPY002
    first = seeds.permutation(100, 3, 4, "order")
    assert (random.getstate(), str(np.random.get_state())) == before[:2]  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), before[2])
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    assert np.array_equal(seeds.permutation(100, 3, 4, "order"), first)


@pytest.mark.parametrize("key", [(-1, 0, "order"), (0, -1, "order"), (0, 0, "order", -1)])
def test_negative_keys_are_refused(key):
    """With the values that were found."""
    with pytest.raises(ArgumentError, match=r"seed, epoch and index must be >= 0; found .*-1"):
        seeds.generator(*key)


# -- errors ----------------------------------------------------------------------------------------------


def classes():
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.ResloadError)]
    return sorted(found, key=lambda kind: kind.__name__)


def test_the_drawn_tree_is_the_tree():
    """The module docstring draws every class under its parent, with the builtin it also is, and no other."""
    drawn, path = {}, []
    for line in errors.__doc__.splitlines():
        if not (match := re.match(r"^ {4}([│├└─ ]*)(\w+Error)(?: \((\w+)\))?", line)):
            continue
        depth = len(match[1]) // 4
        path[depth:] = [match[2]]
        drawn[match[2]] = (path[depth - 1] if depth else None, match[3])
    assert set(drawn) == {kind.__name__ for kind in classes()}
    for kind in classes():
        parent, builtin = drawn[kind.__name__]
        bases = [base.__name__ for base in kind.__bases__]
        assert bases == [name for name in (parent, builtin) if name] or kind is errors.ResloadError, kind


@pytest.mark.parametrize("kind", classes())
def test_errors_travel_by_pickle(kind):
    """As worker processes send them home: same class, same message, a decode error's parts, and notes."""
    error = kind("a reason", path="film.png", detail="line 3") if issubclass(kind, DecodeError) else kind("a reason")
    error.add_note("while testing")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.__notes__ == ["while testing"]
    if isinstance(again, DecodeError):
        assert (again.reason, again.path, again.detail) == ("a reason", "film.png", "line 3")


@pytest.mark.parametrize("kind", [kind for kind in classes() if issubclass(kind, DecodeError)])
def test_a_decode_error_names_the_file(kind):
    """`at` gives the same class and reason with the path; the reason alone stays free of paths."""
    error = kind("the data ends early", detail="at byte 9")
    assert str(error) == "the data ends early (at byte 9)"
    named = error.at("x/film.png")
    assert type(named) is kind
    assert str(named) == "x/film.png: the data ends early (at byte 9)"
    assert (named.reason, named.path, named.detail) == ("the data ends early", "x/film.png", "at byte 9")
    assert error.path is None
    assert isinstance(named, ValueError)


def test_require_imports_or_says_what_to_install():
    """A package that is there is returned; one that is not names the extra; a broken one keeps its own message."""
    assert errors.require("json.decoder", "figures", "to test").__name__ == "json.decoder"
    with pytest.raises(
        MissingPackageError, match=r"nowhere is needed to draw .*: pip install 'resload\[figures\]'"
    ) as e:
        errors.require("nowhere.at.all", "figures", "to draw")
    assert isinstance(e.value, ImportError)
    assert e.value.name == "nowhere"


def test_require_does_not_hide_a_broken_package(tmp_path, monkeypatch):
    """When the package is there and something it needs is not, that is what is said."""
    (tmp_path / "half_installed.py").write_text("import something_it_needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_it_needs") as caught:
        errors.require("half_installed", "figures", "to draw")
    assert not isinstance(caught.value, MissingPackageError)
