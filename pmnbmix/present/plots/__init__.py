"""Figures of fits, chains, labels and choices; each returns its axes and takes existing ones."""

from pmnbmix.present.plots.adequacy import plot_loo_pit, plot_rootogram
from pmnbmix.present.plots.chains import plot_chains
from pmnbmix.present.plots.choice import plot_criteria, plot_elpd
from pmnbmix.present.plots.estimates import plot_estimates
from pmnbmix.present.plots.fit import plot_components, plot_fit
from pmnbmix.present.plots.labels import (
    plot_co_clustering,
    plot_overlap,
    plot_permutations,
    plot_relabelling,
)

__all__ = [
    "plot_chains",
    "plot_co_clustering",
    "plot_components",
    "plot_criteria",
    "plot_elpd",
    "plot_estimates",
    "plot_fit",
    "plot_loo_pit",
    "plot_overlap",
    "plot_permutations",
    "plot_relabelling",
    "plot_rootogram",
]
