"""Posteriors whose faults are known, because they were built in: a bench for `diagnose`.

All draws are NUTS's own, started in modes that are known; labels are permuted by hand. Data with
three clusters and a model with two components have two modes (which of the neighbours share a
component), as far apart in density as the place of the middle one makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws, unpack
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.target import make_target
from pmnbmix.posterior.engines import Settings, run_nutpie
from pmnbmix.posterior.modes import Mode, find_modes
from pmnbmix.tree.writing import assemble

CHAINS, DRAWS = 4, 1000
# Least and most nats between the two modes.
GAPS = {3: (2.0, 4.5), 10: (10.0, 14.0), 100: (100.0, 400.0)}


@dataclass(frozen=True)
class Case:
    """A posterior, and what is to be said of it."""

    name: str
    tree: xr.DataTree
    density_ok: bool
    # None where the answer is not known beforehand
    components_ok: bool | None
    # findings that must be there, and those that may be besides
    expected: frozenset[str]
    allowed: frozenset[str] = frozenset()
    optima: object = None
    # words that the summary must have
    words: tuple[str, ...] = ()
    gap: float = field(default=0.0)

    def faults(self, diagnosis: nb.Diagnosis) -> list[str]:
        """What the diagnosis got wrong."""
        wrong = []
        if diagnosis.density_ok != self.density_ok:
            wrong.append(f"density_ok {diagnosis.density_ok}")
        if self.components_ok is not None and diagnosis.components_ok != self.components_ok:
            wrong.append(f"components_ok {diagnosis.components_ok}")
        wrong += [f"missing {word}" for word in self.expected - diagnosis.findings]
        extra = diagnosis.findings - self.expected - self.allowed
        wrong += [f"extra {word}" for word in extra]
        wrong += [f"silent on {word!r}" for word in self.words if word not in str(diagnosis)]
        return wrong


def chains_in(
    counts: nb.Counts, spec: nb.MixtureSpec, modes: list[Mode], seed: int, draws: int = DRAWS
) -> Draws:
    """NUTS chains, each started at a mode that is told."""
    target = make_target(Problem.of(counts, spec))
    rng = np.random.default_rng(seed)
    starts = np.array(
        [mode.packed + 0.1 * mode.root @ rng.standard_normal(mode.packed.size) for mode in modes]
    )
    seeds = (1000 * seed + np.arange(len(modes))).tolist()
    settings = Settings(draws=draws, tune=400, target_accept=0.9)
    return unpack(run_nutpie(target, starts, seeds, settings, lambda done, total: None).packed)


def permuted(draws: Draws, order: np.ndarray) -> Draws:
    return draws.permuted(np.broadcast_to(order, draws.means.shape))


def tree_of(counts: nb.Counts, draws: Draws, shuffled: int | None = None) -> xr.DataTree:
    if shuffled is not None:
        rng = np.random.default_rng(shuffled)
        labels = np.tile(np.arange(draws.n_components), (*draws.means.shape[:2], 1))
        draws = draws.permuted(rng.permuted(labels, axis=-1))
    return assemble(counts, draws, {})


def healthy(seed: int) -> Iterator[Case]:
    """A clean posterior, its labels switched in three ways, and too little of it."""
    truth = nb.MixtureParams([0.4, 0.6], [3.0, 30.0], [0.3, 0.15])
    counts = nb.Counts(truth.sample(250, random_seed=seed)[0])
    spec = nb.MixtureSpec(2).resolve(counts)
    modes = find_modes(counts, spec, seed)[:1] * CHAINS
    draws = chains_in(counts, spec, modes, seed)
    good = {"density_ok": True, "components_ok": True}
    switched = frozenset({"label-switching"})
    yield Case("healthy", tree_of(counts, draws), expected=frozenset(), **good)

    flipped = np.where(np.arange(CHAINS) % 2, [[1], [0]], [[0], [1]]).T[:, None, :]
    between = tree_of(counts, permuted(draws, flipped))
    yield Case("between", between, expected=switched, words=("between chains",), **good)

    rng = np.random.default_rng(seed)
    state = np.cumsum(rng.random((CHAINS, DRAWS)) < 0.03, axis=1) % 2
    within = permuted(draws, np.where(state[..., None], [1, 0], [0, 1]))
    words = ("within chains",)
    yield Case("within", tree_of(counts, within), expected=switched, words=words, **good)
    every = tree_of(counts, draws, shuffled=seed)
    yield Case("every draw", every, expected=switched, words=words, **good)

    bad = {"density_ok": False, "components_ok": False}
    few = tree_of(counts, chains_in(counts, spec, modes, seed, draws=30))
    yield Case("too few", few, expected=frozenset({"not-mixed"}), **bad)
    slow = tree_of(counts, _crawling(counts, spec, modes[0], seed))
    yield Case("too slow", slow, expected=frozenset({"not-mixed"}), **bad)

    # a third component that holds nothing: the data do not speak of it
    shape = draws.means.shape[:2]
    rare = 10.0 ** rng.uniform(-7, -4, (*shape, 1))
    wide = Draws(
        np.concatenate([draws.weights * (1.0 - rare), rare], axis=-1),
        np.concatenate([draws.means, 30.0 * np.exp(rng.normal(0, 2.0, (*shape, 1)))], axis=-1),
        np.concatenate([draws.dispersions, np.exp(rng.normal(0, 2.0, (*shape, 1)))], axis=-1),
    )
    yield Case(
        "empty", tree_of(counts, wide, shuffled=seed),
        expected=frozenset({"empty-component", "label-switching"}), **good,
    )  # fmt: skip


def _crawling(counts: nb.Counts, spec: nb.MixtureSpec, mode: Mode, seed: int) -> Draws:
    """Random-walk Metropolis with steps far too small, from overdispersed starts."""
    target, rng = make_target(Problem.of(counts, spec)), np.random.default_rng(seed)
    packed = np.empty((CHAINS, DRAWS, mode.packed.size))
    for chain in range(CHAINS):
        point = mode.packed + mode.root @ rng.standard_normal(mode.packed.size)
        level = target.log_density(point)[0]
        for draw in range(DRAWS):
            new = point + 0.05 * mode.root @ rng.standard_normal(mode.packed.size)
            value = target.log_density(new)[0]
            if np.log(rng.random()) < value - level:
                point, level = new, value
            packed[chain, draw] = point
    return unpack(packed)


def two_modes(nats: int, seed: int) -> tuple[nb.Counts, nb.MixtureSpec, Mode, Mode]:
    """Counts in three clusters whose two-component posterior has a mode so much lower."""
    low, high = GAPS[nats]
    rng = np.random.default_rng([nats, seed])
    for _ in range(1000):
        middle = 10.0 ** rng.uniform(1.2, 2.2)
        share = rng.dirichlet([20.0, 20.0, 20.0])
        truth = nb.MixtureParams(share, [3.0, middle, 400.0], [0.02] * 3)
        n = 400 if nats >= 100 else 120
        counts = nb.Counts(truth.sample(n, random_seed=rng)[0])
        spec = nb.MixtureSpec(2).resolve(counts)
        modes = sorted(find_modes(counts, spec, 0), key=lambda mode: -mode.log_density)
        for mode in modes[1:]:
            # the saddle with equal means is no place to stay
            apart = mode.params.means[1] > 3.0 * mode.params.means[0]
            if apart and low <= modes[0].log_density - mode.log_density <= high:
                return counts, spec, modes[0], mode
    raise AssertionError(f"no data set with a gap of {nats} nats for seed {seed}")


def stuck(nats: int, seed: int) -> Iterator[Case]:
    """One chain in a lower mode; and where that is far below, all of them."""
    for attempt in range(20):
        counts, spec, high, low = two_modes(nats, 100 * seed + attempt)
        draws = chains_in(counts, spec, [high, low, high, high], seed)
        below = chains_in(counts, spec, [low] * CHAINS, seed)
        # a lower mode that the chain has left is no case
        stays = _nearer(draws, low, high)
        if stays[1].all() and not stays[[0, 2, 3]].any() and _nearer(below, low, high).all():
            break
    else:
        raise AssertionError("chains never stay")
    # what the lower mode makes of the labels and the edges is not what is asked here
    besides = frozenset({"label-switching", "weak-labels", "near-poisson", "empty-component"})
    bad = {"density_ok": False, "components_ok": False, "allowed": besides, "gap": float(nats)}
    yield Case(
        f"one chain {nats} nats lower", tree_of(counts, draws, shuffled=seed),
        expected=frozenset({"multimodal"}), words=("chain 1", "lower"), **bad,
    )  # fmt: skip
    if nats >= 10:
        em = nb.fit_em(counts, 2, random_seed=seed)
        yield Case(
            f"all chains {nats} nats lower", tree_of(counts, below),
            expected=frozenset({"lower-mode"}), optima=em, **bad,
        )  # fmt: skip


def _nearer(draws: Draws, one: Mode, other: Mode) -> np.ndarray:
    """Whether each draw is nearer to one mode than to the other, by its means."""
    logs = np.log(np.sort(draws.means, axis=-1))
    gaps = [np.abs(logs - np.log(mode.params.means)).sum(-1) for mode in (one, other)]
    return gaps[0] < gaps[1]


def overfitted(seed: int) -> Iterator[Case]:
    """One more component than there are."""
    truth = nb.MixtureParams([0.4, 0.6], [3.0, 30.0], [0.3, 0.15])
    counts = nb.Counts(truth.sample(250, random_seed=seed)[0])
    tree = nb.sample(counts, nb.MixtureSpec(3), random_seed=seed, progressbar=False)
    besides = frozenset({"label-switching", "near-poisson", "empty-component"})
    yield Case(
        "overfitted", tree, density_ok=True, components_ok=None,
        expected=frozenset({"weak-labels"}), allowed=besides,
        optima=nb.fit_em(counts, 3, random_seed=seed),
    )  # fmt: skip


def same_mean(seed: int) -> Iterator[Case]:
    """Components that differ in dispersion only."""
    truth = nb.MixtureParams([0.5, 0.5], [40.0, 40.0], [1.0, 1 / 60])
    counts = nb.Counts(truth.sample(400, random_seed=seed)[0])
    spec = nb.MixtureSpec(2).resolve(counts)
    modes = find_modes(counts, spec, seed)[:1] * CHAINS
    tree = tree_of(counts, chains_in(counts, spec, modes, seed), shuffled=seed)
    yield Case(
        "same mean", tree, density_ok=True, components_ok=True,
        expected=frozenset({"label-switching"}),
        words=("Ordering by mean is unsafe", "told apart by their dispersions"),
    )  # fmt: skip


def all_cases(seeds: range) -> Iterator[Case]:
    for seed in seeds:
        yield from healthy(seed)
        for nats in GAPS:
            yield from stuck(nats, seed)
        yield from overfitted(seed)
        yield from same_mean(seed)
