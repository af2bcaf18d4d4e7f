"""Counts of two components, and estimators of them."""

import numpy as np

import pmnbmix as nb

METHODS = ("predict", "predict_proba", "score_samples", "score", "aic", "bic", "icl")

params = nb.MixtureParams([0.4, 0.6], [3.0, 40.0], [0.2, 0.1])
X = params.sample(400, 1)[0][:, None]
exposure = np.random.default_rng(2).choice([0.5, 1.0, 2.0], 400)
X_exposed = params.sample(400, 3, exposure)[0][:, None]


def mixture(**changed):
    return nb.NegativeBinomialMixture(**{"random_state": 1, **changed})
