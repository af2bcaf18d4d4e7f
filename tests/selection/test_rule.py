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
    assert "stacking gives the weights 0.20 for 1, 0.80 for 2." in text
    assert "elpd of 2 components is doubtful: 3 observations" in text


def test_what_predicts_best_is_named_beside_what_is_chosen_with_what_choosing_costs():
    verdict = judge_components(table([-14.0, 0.0, -1.0], [7.5, 0.0, 1.0]))
    assert (verdict.chosen, verdict.best) == (1, 2)
    assert verdict.reasons[0] == (
        "1 component is the smallest number that is not clearly worse; for prediction, 2 "
        "components have the highest elpd. Choosing 1 gives up 14.0 elpd (standard error 7.5). "
        "Neither is a true number."
    )
    assert "needed" not in " ".join(verdict.reasons)


def test_which_of_two_that_are_as_good_is_ahead_changes_nothing_that_is_said():
    """Monte Carlo error of tenths of a nat decided between two reasons."""
    one = judge_components(table([-13.0, 0.0, -0.1], [4.6, 0.0, 0.2]))
    other = judge_components(table([-13.0, -0.1, 0.0], [4.6, 0.2, 0.0]))
    assert one == other
    assert one.best == one.chosen == 2
    assert one.reasons[0].startswith("2 components predict best (3 equally well)")


def test_a_number_that_does_not_describe_the_counts_is_not_recommended_without_that_word():
    verdict = judge_components(
        table([-5.0, 0.0, -9.0], [4.0, 0.0, 8.0]),
        weaknesses={1: "it does not describe the counts", 3: "it is odd"},
        influences={1: "One observation decides much between 1 and 2: 115."},
    )
    assert verdict.reasons[0].endswith("Caution with 1 component: it does not describe the counts.")
    assert "One observation decides much between 1 and 2: 115." in verdict.reasons
    assert "3 components: it is odd." in verdict.reasons


def test_no_standard_error_to_judge_by():
    verdict = judge_components(table([-1.0, 0.0], [0.0, 0.0]))
    assert verdict.chosen == 1
    assert "no standard error" in " ".join(verdict.reasons)
