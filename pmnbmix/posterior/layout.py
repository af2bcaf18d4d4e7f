"""Draws of a posterior, what is made from them, and the tree that both are laid out as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts, fingerprint
from pmnbmix.labels.gates import Gates, judge
from pmnbmix.labels.relabel import canonical, relabel_by_responsibilities
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.row_density import RowDensity
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.posterior.modes import Mode, modes_that_matter
from pmnbmix.posterior.predictive import log_prior, predictive_groups
from pmnbmix.tree.writing import MixtureTree, assemble, coordinates, permuted, relabelling_group

Floats = NDArray[np.float64]

METHOD = "stephens"


@dataclass(frozen=True, eq=False)
class Labelled:
    """Draws relabelled by Stephens' algorithm.

    Attributes
    ----------
    raw : Draws
        With the labels that the sampler gave.
    density : RowDensity
        Log density of the unique rows, which labels do not change.
    order : ndarray of int, shape (chain, draw, k)
        The new component j of a draw is the old component ``order[..., j]``.
    cost : ndarray, shape (n_samples,)
        Kullback-Leibler loss of each draw in nats.
    """

    raw: Draws
    density: RowDensity = field(repr=False)
    order: NDArray[np.intp] = field(repr=False)
    cost: Floats = field(repr=False)

    @classmethod
    def of(cls, raw: Draws, counts: Counts) -> Labelled:
        """Relabel draws of a posterior of counts."""
        found = relabel_by_responsibilities(raw, counts.table)
        order = canonical(raw, found.order)
        return cls(raw, RowDensity(raw, counts.table), order, found.cost)

    @property
    def draws(self) -> Draws:
        """Draws with the new labels."""
        return self.raw.permuted(self.order)

    def gates(self) -> Gates:
        """Judge both gates."""
        return judge(self.density, self.draws)

    def tree(self, counts: Counts, groups: dict[str, xr.Dataset]) -> MixtureTree:
        """Lay out the draws with further groups, whose labels are the new ones."""
        coords = coordinates(self.raw)
        relabelling = relabelling_group(self.order, self.cost, METHOD, coords)
        return assemble(counts, self.draws, {**groups, "relabelling": relabelling}, self.density)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Everything that the tree of a posterior is laid out from.

    Attributes
    ----------
    counts : Counts
    spec : MixtureSpec
        Resolved.
    labelled : Labelled
    stats : Dataset
        Group ``sample_stats``.
    modes : list of Mode
    which : ndarray of int, shape (chains,)
        Mode that each chain started from.
    """

    counts: Counts
    spec: MixtureSpec
    labelled: Labelled
    stats: xr.Dataset = field(repr=False)
    modes: list[Mode] = field(repr=False)
    which: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        counts: Counts,
        spec: MixtureSpec,
        draws: Draws,
        stats: xr.Dataset,
        modes: list[Mode],
        which: NDArray[np.intp],
    ) -> Posterior:
        """Relabel draws."""
        return cls(counts, spec, Labelled.of(draws, counts), stats, modes, which)

    def tree(
        self, attributes: Mapping[str, str | int | float], rng: np.random.Generator
    ) -> MixtureTree:
        """Predict, and lay out a tree with attributes that say how the draws were made."""
        groups = {
            "sample_stats": self.stats,
            "log_prior": permuted(log_prior(self.labelled.raw, self.spec), self.labelled.order),
            **predictive_groups(self.counts, self.spec, self.labelled.draws, rng),
            "modes": _mode_table(self.modes, self.which),
        }
        tree = self.labelled.tree(self.counts, groups)
        tree.attrs.update(
            {
                "inference_library": "pmnbmix",
                "inference_library_version": version("pmnbmix"),
                **fingerprint(self.counts),
                "spec": json.dumps(self.spec.to_dict()),
                **attributes,
            }
        )
        return tree


def _mode_table(modes: list[Mode], which: NDArray[np.intp]) -> xr.Dataset:
    """Modes of the sampling density, largest mass first, and how many chains began in each."""
    mattering = len(modes_that_matter(modes))
    return xr.Dataset(
        {
            **{
                name: (
                    ("mode", "mixture_component"),
                    np.array([getattr(mode.params, name) for mode in modes]),
                )
                for name in PARAMETERS
            },
            "log_density": ("mode", [mode.log_density for mode in modes]),
            "log_mass": ("mode", [mode.log_mass for mode in modes]),
            "times_reached": ("mode", [mode.times_reached for mode in modes]),
            "chains_started": ("mode", np.bincount(which, minlength=len(modes))),
            "matters": ("mode", np.arange(len(modes)) < mattering),
        },
        coords={"mode": np.arange(len(modes))},
    )
