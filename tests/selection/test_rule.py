import numpy as np
import pandas as pd
import pytest

from pmnbmix.selection.rule import judge_components


def table(differences, errors, passed=None, **other):
    index = range(1, len(differences) + 1)
    passed = [True] * len(differences) if passed is None else passed
    frame = pd.DataFrame(
        {"elpd_diff": differences, "diff_se": errors, "density_ok": passed, **other}, index=index
    )
    frame.loc[~frame["density_ok"], ["elpd_diff", "diff_se"]] = np.nan
    return frame


def test_the_only_number_assessed_beats_nothing():
    alone = judge_components(table([0.0], [0.0]))
    assert alone.reasons[0].startswith("1 component: the only number")
    assert "worse" not in " ".join(alone.reasons)
    second = judge_components(table([0.0, 0.0], [0.0, 0.0], [False, True]), {1: "Too few draws."})
    assert second.chosen == 2
    assert "Whether fewer (1) would do is not known" in second.reasons[0]
    assert "Too few draws." in second.reasons[1]
    three = judge_components(table([0.0, -20.0, 0.0], [0.0, 2.0, 0.0], [False, True, True]))
    assert three.chosen == 3
    assert "Whether fewer (1) would do is not known" in three.reasons[0]


@pytest.mark.parametrize(
    ("differences", "errors", "plausible", "chosen"),
    [
        # clearly worse: by more than 4 and by more than 2 standard errors
        ([-30.0, 0.0], [5.0, 0.0], {2}, 2),
        # by more than 4 but not by 2 standard errors
        ([-9.0, 0.0], [5.0, 0.0], {1, 2}, 1),
        # by many standard errors but not by 4
        ([-3.9, 0.0], [0.1, 0.0], {1, 2}, 1),
        ([-4.0, 0.0], [0.1, 0.0], {1, 2}, 1),
        ([-10.0, 0.0], [5.0, 0.0], {1, 2}, 1),
        ([-40.0, -1.0, 0.0, -2.0], [8.0, 1.0, 0.0, 1.0], {2, 3, 4}, 2),
        ([0.0], [0.0], {1}, 1),
    ],
)
def test_worse_by_both_is_ruled_out_and_the_smallest_of_the_rest_chosen(
    differences, errors, plausible, chosen
):
    verdict = judge_components(table(differences, errors))
    assert verdict.plausible == plausible
    assert verdict.chosen == chosen
    assert verdict.reasons[0].startswith(f"{chosen} component")


def test_a_number_that_failed_its_gate_is_named_and_never_ranked():
    verdict = judge_components(
        table([-30.0, 0.0, np.nan], [5.0, 0.0, np.nan], passed=[True, True, False])
    )
    assert verdict.plausible == {2}
    assert "3 components: not assessed, because its posterior failed the density gate." in (
        verdict.reasons
    )


def test_nothing_is_chosen_where_every_gate_failed():
    verdict = judge_components(table([0.0, 0.0], [0.0, 0.0], passed=[False, False]))
    assert verdict.chosen is None
    assert verdict.plausible == frozenset()
    assert "(1, 2)" in verdict.reasons[0]


def test_criteria_that_disagree_are_named():
    verdict = judge_components(
        table(
            [-30.0, 0.0],
            [5.0, 0.0],
            aic=[10.0, 5.0],
            bic=[5.0, 6.0],
            icl=[1.0, 9.0],
            stacking_weight=[0.2, 0.8],
            high_k=[0, 3],
        )
    )
    text = " ".join(verdict.reasons)
    assert "BIC prefers 1." in text
    assert "ICL, which wants components well apart, prefers 1." in text
    assert "AIC" not in text
    assert "Stacking" not in text
    assert "elpd of 2 components is doubtful: 3 observations" in text


def test_no_standard_error_to_judge_by():
    verdict = judge_components(table([-1.0, 0.0], [0.0, 0.0]))
    assert verdict.chosen == 1
    assert "no standard error" in " ".join(verdict.reasons)
