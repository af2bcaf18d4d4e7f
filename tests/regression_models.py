"""Mixtures of regressions whose best log likelihoods are known, as counts and specifications."""

import json
from functools import cache
from pathlib import Path

import pandas as pd

import pmnbmix as nb

FOLDER = Path(__file__).parent / "reference" / "regression"
REFERENCES = json.loads((FOLDER / "references.json").read_text())
ESTIMATES = json.loads((FOLDER / "estimates.json").read_text())
# Models that need neither truncation nor subjects.
MODELS = [name for name, one in REFERENCES.items() if "subject" not in one and "above" not in one]


@cache
def data_of(name):
    """Table of a file of the reference."""
    frame = pd.read_csv(FOLDER / "data" / f"{name}.csv")
    if "mar" in frame:
        # R's base category is not the first of the alphabet
        frame["mar"] = pd.Categorical(frame["mar"], ["Single", "Married"])
    return frame


@cache
def model(name):
    """Counts and specification of a model of the reference."""
    stated = REFERENCES[name]
    frame = data_of(stated["data"])
    exposure = frame[stated["exposure"]] if "exposure" in stated else None
    counts = nb.Counts(
        frame[stated["response"]], exposure, covariates=frame, name=stated["response"]
    )
    families = stated["families"]
    spec = nb.MixtureSpec(
        stated["n_components"],
        mean_formula=stated["means"],
        shared_formula=stated.get("shared", "1"),
        weight_formula=stated.get("weights", "1"),
        dispersion_formula=stated.get("dispersions", "1"),
        families=families if isinstance(families, str) else tuple(families),
    )
    return counts, spec
