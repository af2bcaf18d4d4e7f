"""Long runs of the pm.Model by PyMC's own sampler, against `sample`.

The other two records are replayed in ``tests/posterior/test_inference.py``.
"""

import json

import arviz as az
import numpy as np
import pytest

import pmnbmix as nb
from tests.conftest import ROOT

# 12 comparisons each; above this a score is chance in one of two hundred such tests
LIMIT = 3.5
DATA = {
    "red_mites": lambda: nb.load_dataset("red_mites"),
    "droplets": lambda: nb.simulate_droplets(2000, random_seed=0),
}


@pytest.mark.parametrize("name", DATA)
def test_posterior_equals_a_long_run_of_pymcs_own_sampler(name):
    path = ROOT / "models" / "reference" / f"{name}_K2.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    counts = DATA[name]()
    spec = nb.MixtureSpec(2).resolve(counts)
    assert record["spec"] == spec.to_dict()
    tree = nb.sample(counts, spec, random_seed=1, progressbar=False)
    logs = np.log(tree["posterior"].to_dataset())
    for parameter in ("weights", "means", "dispersions"):
        one, expected = logs[[parameter]], record["summary"][f"log_{parameter}"]
        for moment, values in (
            ("mean", one[parameter].mean(("chain", "draw")).values),
            ("sd", one[parameter].std(("chain", "draw"), ddof=1).values),
        ):
            error = az.mcse(one, method=moment)[parameter].values
            combined = np.hypot(error, expected[f"mcse_{moment}"])
            scores = (values - expected[moment]) / combined
            assert (np.abs(scores) < LIMIT).all(), (parameter, moment, scores)
