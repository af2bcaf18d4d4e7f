"""The whole walk from counts to a choice of the number of components."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import numpy as np

from pmnbmix.data.checks import function, whole
from pmnbmix.data.counts import Counts
from pmnbmix.mixture.spec import MixtureSpec, check_n_components
from pmnbmix.posterior.checks import check_arguments, was_interrupted
from pmnbmix.progress import Watch
from pmnbmix.seeds import entropy_of, stream
from pmnbmix.selection.loo import refuse_too_many
from pmnbmix.selection.rule import ELPD_LIMIT
from pmnbmix.study.choice import Choice, make_choice
from pmnbmix.study.fitting import Fitted, fit_all, neighbours
from pmnbmix.study.storage import (
    Kept,
    read_thorough,
    settings_of,
    write_fitted,
    write_thorough,
)
from pmnbmix.study.thorough import look_thoroughly

# Streams of random numbers from here on are of point fits that are made ahead, for their starts.
_AHEAD = 3000

_log = logging.getLogger(__name__)


def choose_components(
    counts: Counts,
    max_components: int = 4,
    *,
    thorough: bool = False,
    spec: MixtureSpec | None = None,
    draws: int = 1000,
    chains: int = 4,
    stop_early: bool = True,
    random_seed: int | np.random.Generator | None = None,
    watch: Watch | None = None,
    on_fitted: Callable[[Fitted], None] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Choice:
    """Choose the smallest number of components that predicts counts about as well as any.

    Numbers are compared by LOO behind a gate. What predicts best is named beside it (``best``), and
    predictions can be averaged over all numbers (``averaged``).

    Parameters
    ----------
    counts : Counts
    max_components : int
        1 to this many components are fitted, or fewer if ``stop_early`` says so.
    thorough : bool
        Ask other criteria too: bootstrap likelihood ratio tests, log evidence, occupied components
        under a sparse prior, modes of the fitted density. They inform the reasons and do not
        change the choice. Takes some seconds to minutes more.
    spec : MixtureSpec, optional
        Priors; its number of components is ignored. Default priors if absent. They are resolved
        once, so that every number of components has the same.
    draws, chains : int
        As in `sample`.
    stop_early : bool
        Stop if two more components in turn have gained less than 4 elpd over fewer.
    random_seed : int or numpy.random.Generator, optional
        The result for each number of components does not depend on how many more are fitted.
    watch : callable, optional
        Told of each stage and its progress.
    on_fitted : callable, optional
        Given the result for each number of components as it comes.
    folder : path-like, optional
        Each number of components is written there as it comes. Called again with the same counts,
        settings and seed (or without one), a study that was stopped goes on from there.

    Returns
    -------
    Choice

    Raises
    ------
    TypeError, ValueError
        As `fit_all`; if ``max_components`` is not an integer of 1 or above; and if ``folder`` is
        not a folder, holds other files, a study of other counts, settings or seed, or fits of other
        counts or priors. All but these fits is checked before anything is written.
    KeyboardInterrupt
        If interrupted before the first number of components is finished; later, the choice is
        made among those finished, and its reasons say so.

    References
    ----------
    .. [1] A. Vehtari, A. Gelman, J. Gabry (2017), Stat. Comput. 27, 1413-1432,
       https://doi.org/10.1007/s11222-016-9696-4

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("earthquakes")
    >>> choice = nb.choose_components(counts, max_components=2, random_seed=1)
    >>> print(choice.reasons[0])
    1 component predicts best..., and no smaller number is plausible. That is what prediction...
    """
    if not isinstance(counts, Counts):
        raise TypeError(f"counts must be a Counts; got {type(counts).__name__}.")
    if spec is not None and not isinstance(spec, MixtureSpec):
        raise TypeError(
            f"spec must be a MixtureSpec, whose priors are used; got {spec!r}. The largest number "
            "of components is max_components."
        )
    max_components = check_n_components(max_components, "max_components")
    # Whatever fit_all would refuse is refused here, because a folder must not record settings that
    # can never be fitted.
    resolved = check_arguments(counts, spec or MixtureSpec())
    refuse_too_many(counts.n)
    draws, chains = whole(draws, "draws", 4), whole(chains, "chains", 1)
    function(watch, "watch")
    function(on_fitted, "on_fitted")
    entropy, kept = entropy_of(random_seed), None
    if folder is not None:
        settings = settings_of(counts, resolved, draws, chains)
        kept = Kept.open(folder, settings, None if random_seed is None else entropy)
        entropy = kept.entropy
    fits: dict[int, Fitted] = {}
    note = ""
    for k in range(1, max_components + 1):
        try:
            found = None if kept is None else kept.read(k, counts, resolved)
            if found is not None:
                fits[k] = found
            else:
                fits[k] = fit_all(
                    counts,
                    resolved.with_components(k),
                    draws=draws,
                    chains=chains,
                    start=neighbours(counts, k, fits.get(k - 1), stream(entropy, _AHEAD + k)),
                    random_seed=stream(entropy, k),
                    watch=watch,
                )
        except KeyboardInterrupt:
            if not fits:
                raise
            note = f"Interrupted: only up to {k - 1} of {max_components} were assessed."
            _log.warning(note)
            break
        if on_fitted is not None:
            on_fitted(fits[k])
        if was_interrupted(fits[k].tree):
            # An interrupted sample() returns the draws it has, but here the study must stop.
            note = (
                f"Interrupted: {k} of {max_components} numbers of components were assessed, the "
                "last with less sampling than it needed."
            )
            _log.warning(note)
            break
        if kept is not None and found is None:
            write_fitted(kept.folder, fits[k])
        if stop_early and k < max_components and _brings_nothing(fits):
            note = (
                f"Stopped at {k} of {max_components}: the last two components brought less than "
                f"{ELPD_LIMIT:g} elpd."
            )
            break
    looked = None
    if thorough and not note.startswith("Interrupted"):
        try:
            looked = None if kept is None else read_thorough(kept.folder)
            if looked is None or looked.table.index.to_list() != list(fits):
                looked = look_thoroughly(counts, resolved, fits, entropy, watch)
                if kept is not None:
                    write_thorough(kept.folder, looked)
        except KeyboardInterrupt:
            note = f"{note} Interrupted before the other criteria were done.".strip()
            _log.warning(note)
    return make_choice(counts, fits, note, looked)


def _brings_nothing(fits: dict[int, Fitted]) -> bool:
    """Whether the last two numbers of components predict hardly better than the best before."""
    k = max(fits)
    if k < 3:
        return False
    last, before = (fits[k], fits[k - 1]), [fits[i] for i in fits if i < k - 1]
    usable = [fitted.elpd.elpd for fitted in before if fitted.diagnosis.density_ok]
    if not usable or not all(fitted.diagnosis.density_ok for fitted in last):
        # A posterior that failed its gate does not tell what more components would bring.
        return False
    return bool(max(fitted.elpd.elpd for fitted in last) < max(usable) + ELPD_LIMIT)
