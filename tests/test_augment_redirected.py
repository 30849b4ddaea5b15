"""torch's random functions under `drawing_from`: a generator of one's own, on one thread, and no way around it."""

import threading

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from resload.augment import drawing_from
from resload.augment.redirected import _REMADE, _form
from resload.errors import ArgumentError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


DRAWS = {
    "rand": lambda: torch.rand(5),
    "rand in float64": lambda: torch.rand((2, 3), dtype=torch.float64),
    "randn": lambda: torch.randn(5),
    "randint": lambda: torch.randint(0, 1000, (5,)),
    "randint, by name": lambda: torch.randint(high=1000, size=(5,)),
    "randperm": lambda: torch.randperm(50),
    "normal": lambda: torch.normal(0.0, 1.0, (5,)),
    "normal of tensors": lambda: torch.normal(torch.zeros(5), torch.ones(5)),
    "bernoulli": lambda: torch.bernoulli(torch.full((60,), 0.5)),
    "bernoulli, method": lambda: torch.full((60,), 0.5).bernoulli(),
    "multinomial": lambda: torch.multinomial(torch.ones(100), 10),
    "multinomial, method": lambda: torch.ones(100).multinomial(10),
    "poisson": lambda: torch.poisson(torch.full((9,), 50.0)),
    "binomial": lambda: torch.binomial(torch.full((9,), 50.0), torch.full((9,), 0.5)),
    "uniform_": lambda: torch.empty(5).uniform_(0.0, 2.0),
    "normal_": lambda: torch.empty(5).normal_(),
    "bernoulli_": lambda: torch.empty(60).bernoulli_(0.5),
    "exponential_": lambda: torch.empty(5).exponential_(),
    "random_": lambda: torch.empty(5).random_(0, 1000),
    "geometric_": lambda: torch.empty(30).geometric_(0.1),
    "cauchy_": lambda: torch.empty(5).cauchy_(),
    "log_normal_": lambda: torch.empty(5).log_normal_(),
    "rand_like": lambda: torch.rand_like(torch.zeros(5)),
    "randn_like": lambda: torch.randn_like(torch.zeros(2, 3), dtype=torch.float64),
    "randint_like": lambda: torch.randint_like(torch.zeros(5), 1000),
    "randint_like, two": lambda: torch.randint_like(torch.zeros(5), 10, 1000),
    "randint_like, by name": lambda: torch.randint_like(torch.zeros(5), high=1000),
    "randint_like, both": lambda: torch.randint_like(torch.zeros(5), 10, high=1000),
    "an initialiser": lambda: torch.nn.init.trunc_normal_(torch.empty(5)),
    "a distribution": lambda: torch.distributions.Uniform(0.0, 1.0).sample((5,)),
    "gumbel": lambda: F.gumbel_softmax(torch.zeros(9)),
    "an initialiser that is overridden": lambda: torch.nn.init.kaiming_uniform_(torch.empty(5, 5)),
    "a pooling": lambda: F.fractional_max_pool2d(
        torch.rand(1, 1, 64, 64, generator=seeded()), 2, output_ratio=(0.6, 0.6)
    ),
    "a low rank": lambda: torch.svd_lowrank(torch.rand(9, 9, generator=seeded()), 2)[0],
    "dropout": lambda: F.dropout(torch.ones(60)),
    "a module": lambda: torch.nn.Dropout2d()(torch.ones(1, 60, 3, 3)),
    "alpha dropout": lambda: F.alpha_dropout(torch.ones(60), training=True),
    "rrelu": lambda: F.rrelu(-torch.ones(9), training=True),
    "a Beta distribution": lambda: torch.distributions.Beta(1.0, 1.0).sample((5,)),
    "a Gamma distribution": lambda: torch.distributions.Gamma(1.0, 1.0).sample((5,)),
    "a Dirichlet distribution": lambda: torch.distributions.Dirichlet(torch.ones(5)).sample(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_drawn_follows_from_the_generator_alone(name):
    """The same seed gives the same, another another; torch's global generator is neither read nor changed."""
    draw, found = DRAWS[name], []
    for around, seed in enumerate((1, 1, 2)):
        torch.manual_seed(around)
        before = torch.get_rng_state()
        with drawing_from(seeded(seed)):
            found.append(draw())
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    torch.manual_seed(0)
    assert (draw().shape, draw().dtype) == (found[0].shape, found[0].dtype)


def test_numbers_are_those_of_the_generator():
    """As if generator= had been written, call by call; a call that names its own keeps it."""
    plain, own = seeded(4), seeded(9)
    with drawing_from(seeded(4)):
        found = torch.rand(3), torch.randn_like(torch.zeros(2)), torch.rand(3, generator=own)
    assert torch.equal(found[0], torch.rand(3, generator=plain))
    assert torch.equal(found[1], torch.empty(2).normal_(generator=plain))
    assert torch.equal(found[2], torch.rand(3, generator=seeded(9)))


def test_bounds_of_integers_are_kept():
    """Of randint_like, in each way of writing them."""
    like = torch.zeros(2000)
    with drawing_from(seeded()):
        for found, low, high in [
            (torch.randint_like(like, 7), 0, 6), (torch.randint_like(like, 3, 7), 3, 6),
            (torch.randint_like(like, high=7), 0, 6), (torch.randint_like(like, low=3, high=7), 3, 6),
            (torch.randint_like(like, 3, high=7), 3, 6),
        ]:  # fmt: skip
            assert (found.min(), found.max()) == (low, high)
            assert found.dtype == like.dtype


def test_what_cannot_be_redirected_is_refused():
    """Rather than drawn from the generator that threads share."""
    message = "draws by aten.native_dropout.default, which takes no generator: images would differ"
    with drawing_from(seeded()), pytest.raises(ArgumentError, match=message):
        torch.native_dropout(torch.ones(9), 0.5, True)


def test_a_dropout_that_is_not_training_draws_nothing():
    """And may be there, as attention without dropout may."""
    with drawing_from(seeded()):
        assert torch.native_dropout(torch.ones(9), 0.5, False)[0].sum() == 9
        assert F.dropout(torch.ones(9), 0.5, False).sum() == 9
        assert torch.nn.Dropout().eval()(torch.ones(9)).sum() == 9
        assert F.scaled_dot_product_attention(*torch.ones(3, 1, 1, 4, 8)).sum() == 32


def test_forms_of_older_versions_draw_the_same():
    """Where torch has no rand_like with a generator, it is made of what there is."""
    like = torch.zeros(3, 2, dtype=torch.float64)
    for packet, rest in [("rand_like", ()), ("randn_like", ()), ("randint_like", (1000,)), ("randint_like", (5, 1000))]:
        found = _REMADE[getattr(torch.ops.aten, packet)](like, *rest, generator=seeded(1))
        with drawing_from(seeded(1)):
            wanted = getattr(torch, packet)(like, *rest)
        assert torch.equal(found, wanted)
        assert found.dtype == wanted.dtype


def test_every_random_operation_of_torch_is_redirected_or_refused():
    """None that is tagged as drawing random numbers is let through; refused are parts of networks alone, which take no
    generator: dropout that keeps its mask, attention and recurrent layers with dropout."""
    tag, refused = torch.Tag.nondeterministic_seeded, set()
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads() if hasattr(packet, "overloads") else ():
            func = getattr(packet, overload)
            if tag in func.tags:
                form = _form(func)
                assert form is not func
                refused |= {name} if form is None else set()
    parts = ("dropout", "attention", "rnn", "gru", "lstm")
    assert [name for name in refused if not any(part in name for part in parts)] == []


def test_it_holds_for_one_thread():
    """Threads beside it draw from the global generator, or from one of their own."""
    inside, found = threading.Barrier(2), {}

    def beside():
        torch_before = torch.get_rng_state()
        inside.wait()
        with drawing_from(seeded(2)):
            found["beside"] = torch.rand(4)
        assert torch.equal(torch.get_rng_state(), torch_before)
        found["global"] = torch.rand(4)

    torch.manual_seed(3)
    other = threading.Thread(target=beside)
    other.start()
    with drawing_from(seeded(1)):
        inside.wait()
        found["here"] = torch.rand(4)
        other.join()
    torch.manual_seed(3)
    assert torch.equal(found["here"], torch.rand(4, generator=seeded(1)))
    assert torch.equal(found["beside"], torch.rand(4, generator=seeded(2)))
    assert torch.equal(found["global"], torch.rand(4))
