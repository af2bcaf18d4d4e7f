import subprocess
import sys

import pmnbmix as nb


def alone(code):
    """Run code in a process that has loaded nothing else."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_can_be_had():
    for name in nb.__all__:
        assert getattr(nb, name) is not None


def test_import_loads_nothing_heavy():
    code = (
        "import sys, pmnbmix\n"
        "pmnbmix.Counts([1, 2])\n"
        "assert not {'pymc', 'arviz', 'numba', 'matplotlib'} & set(sys.modules)\n"
    )
    alone(code)


def test_point_estimates_never_load_pymc_or_arviz():
    code = (
        "import sys, pmnbmix\n"
        "fit = pmnbmix.fit_em(pmnbmix.load_dataset('red_mites'), 1)\n"
        "fit.standard_errors(); fit.to_datatree()\n"
        "assert not {'pymc', 'pytensor', 'arviz', 'nutpie'} & set(sys.modules)\n"
    )
    alone(code)


def test_formulaic_waits_until_a_formula_meets_covariates():
    alone(
        "import sys, pmnbmix\n"
        "pmnbmix.MixtureSpec(mean_formula='age + C(sex)')\n"
        "assert not {'formulaic', 'pandas'} & set(sys.modules)\n"
    )
