"""`diagnose` on posteriors with known answers: 95 % right, and no stuck chain let through."""

import collections

import numpy as np
import pytest

import pmnbmix as nb
from tests.labels.bench import GAPS, all_cases

pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def verdicts():
    return [
        (case, nb.diagnose(case.tree, optima=case.optima)) for case in all_cases(range(6))
    ]  # fmt: skip


def test_the_bench_is_large_and_has_every_kind(verdicts):
    kinds = collections.Counter(case.name for case, _ in verdicts)
    assert len(verdicts) >= 80
    assert len(kinds) == 14
    assert min(kinds.values()) == max(kinds.values())


def test_findings_and_gates_are_right_in_95_of_100(verdicts):
    wrong = {i: case.faults(diagnosis) for i, (case, diagnosis) in enumerate(verdicts)}
    wrong = {f"{i} {verdicts[i][0].name}": faults for i, faults in wrong.items() if faults}
    assert len(wrong) <= 0.05 * len(verdicts), wrong


def test_no_chain_that_is_stuck_10_nats_lower_passes_the_density_gate(verdicts):
    stuck = [(case, diagnosis) for case, diagnosis in verdicts if case.gap >= 10]
    assert len(stuck) == 24
    for case, diagnosis in stuck:
        assert not diagnosis.density_ok, case.name
        assert not diagnosis.components_ok, case.name
        assert "density gate failed" in diagnosis.summary[0]


def test_the_table_of_chains_says_which_is_stuck_and_how_far(verdicts):
    for case, diagnosis in verdicts:
        if not case.name.startswith("one chain"):
            continue
        chains = diagnosis.chains
        assert chains["group"].tolist() == [0, 1, 0, 0]
        low, high = GAPS[int(case.gap)]
        # of means over the draws; the modes are so far apart, and as wide as each other but roughly
        assert low - 3.0 < chains.loc[1, "behind"] < high + 3.0


def test_chains_are_matched_with_the_optima_of_the_point_fit(verdicts):
    found = 0
    for case, diagnosis in verdicts:
        if not case.name.startswith("all chains"):
            continue
        chains = diagnosis.chains
        assert (chains["group"] == 0).all()
        # the lower mode is an optimum of the likelihood too, if not always one that was found
        near = chains["optimum"].dropna()
        assert near.nunique() <= 1
        assert (near != 0).all()
        if len(near):
            found += 1
            behind = chains["optimum_behind"].iloc[0]
            assert behind == pytest.approx(case.gap, abs=8) or behind > 90
    assert found >= 8


def test_what_labels_do_is_in_the_table_of_chains(verdicts):
    by_name = {case.name: diagnosis.chains for case, diagnosis in verdicts}
    assert (by_name["healthy"]["switch_rate"] == 0).all()
    between = by_name["between"]
    assert (between["switch_rate"] < 0.01).all()
    assert between["labels"].tolist()[0] != between["labels"].tolist()[1]
    assert (between["labels_share"] > 0.99).all()
    assert np.allclose(by_name["within"]["switch_rate"], 0.03, atol=0.015)
    assert np.allclose(by_name["every draw"]["switch_rate"], 0.5, atol=0.06)
    assert np.allclose(by_name["every draw"]["labels_share"], 0.5, atol=0.06)
