"""What public functions have in common: how a specification and numbers of anything are given."""

import inspect

import numpy as np
import pytest

import pmnbmix as nb

COUNTS = nb.Counts([0, 1, 1, 2, 3, 3, 4, 5, 8, 9, 15, 30] * 3)
QUIET = {"random_seed": 1, "progressbar": False}
# Calls of every public function that takes a specification, and what of the result is compared.
TAKE_A_SPEC = {
    "fit_map": lambda spec: nb.fit_map(COUNTS, spec, random_seed=1).params.means,
    "build_model": lambda spec: np.array(
        list(nb.build_model(COUNTS, spec).point_logps(round_vals=10).values())
    ),
    "laplace": lambda spec: nb.laplace(COUNTS, spec, draws=100, random_seed=1)["posterior"][
        "means"
    ],
    "start_points": lambda spec: nb.start_points(COUNTS, spec, chains=1, random_seed=1)[0][
        "log_means"
    ],
    "sample": lambda spec: nb.sample(COUNTS, spec, draws=50, **QUIET)["posterior"]["means"],
    "sample_columns": lambda spec: nb.sample_columns(
        COUNTS.values[:, None], [0], spec, draws=100, **QUIET
    )["means"],
}


def public():
    for name in nb.__all__:
        found = getattr(nb, name)
        if inspect.isclass(found):
            methods = inspect.getmembers(found, inspect.isfunction)
            yield from ((f"{name}.{m}", f) for m, f in methods if not m.startswith("_"))
        elif inspect.isfunction(found):
            yield name, found


def test_every_function_that_takes_a_specification_is_tried():
    taking = {name for name, f in public() if "spec" in inspect.signature(f).parameters}
    # the number of components is the largest that is tried of one, and given twice of the other
    assert taking == {*TAKE_A_SPEC, "choose_components", "bootstrap_lrt"}


@pytest.mark.parametrize("name", TAKE_A_SPEC)
def test_a_number_of_components_stands_for_the_default_priors(name):
    call = TAKE_A_SPEC[name]
    np.testing.assert_array_equal(call(1), call(nb.MixtureSpec(1)))
    np.testing.assert_array_equal(call(np.int64(1)), call(1))


@pytest.mark.parametrize("name", TAKE_A_SPEC)
@pytest.mark.parametrize("spec", ["2", 2.0, True, [2]])
def test_what_is_no_specification_is_refused(name, spec):
    with pytest.raises(TypeError, match=r"spec must be a MixtureSpec, or a number .*; got "):
        TAKE_A_SPEC[name](spec)


@pytest.mark.parametrize("name", TAKE_A_SPEC)
def test_a_number_below_one_is_refused(name):
    with pytest.raises(ValueError, match=r"spec must be a whole number of 1 or above.*; got 0"):
        TAKE_A_SPEC[name](0)


def test_numbers_that_functions_order_differently_are_given_by_name():
    found = {
        f"{name}({parameter.name})": parameter.kind
        for name, f in public()
        for parameter in inspect.signature(f).parameters.values()
        if parameter.name in ("n_boot", "null", "alternative", "draws", "chains")
        # an array of draws, and not their number
        and not name.startswith("relabel_draws")
    }
    assert {"bootstrap_lrt(n_boot)", "goodness_of_fit(n_boot)", "PointFit.bootstrap(n_boot)"} <= {
        *found
    }
    assert set(found.values()) == {inspect.Parameter.KEYWORD_ONLY}
