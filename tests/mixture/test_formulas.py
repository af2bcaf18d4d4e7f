import builtins
import os
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmnbmix as nb
from pmnbmix.data.covariates import as_covariates
from pmnbmix.mixture.formulas import Formula, code

AGE = np.array([20.0, 35.0, 50.0, 65.0, 41.0, 28.0])
ROWS = as_covariates(
    {
        "age": AGE,
        "sex": ["f", "m", "f", "m", "m", "f"],
        "dose": pd.Categorical(
            ["low", "high", "mid", "low", "high", "mid"], categories=["low", "mid", "high", "none"]
        ),
        "year": [1990, 1991, 1991, 1990, 1992, 1992],
        "smoker": [True, False, True, True, False, False],
        "n visits": [1, 2, 3, 4, 5, 6],
        "size.f": [0.5, 1.5, 2.5, 3.5, 1.0, 2.0],
        "log": [1, 2, 3, 2, 1, 2],
        "_x0_": [1, 2, 1, 2, 1, 3],
    },
    6,
)
MALE, YOUNG = np.array([0, 1, 0, 1, 1, 0]), np.ones(6)


def coded(text, rows=ROWS):
    return code(Formula.parse(text, "mean_formula"), rows, "mean_formula")


def refused(call):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value).startswith("mean_formula: ")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "terms", "columns"),
    [
        ("1", ["1"], []),
        ("1 + age", ["1", "age"], [AGE]),
        ("sex", ["1", "sex[T.m]"], [MALE]),
        ("C(sex)", ["1", "sex[T.m]"], [MALE]),
        ('C(sex, contr.treatment("m"))', ["1", "sex[T.f]"], [1 - MALE]),
        ("C(sex, Treatment(reference='m'))", ["1", "sex[T.f]"], [1 - MALE]),
        ('C(sex, levels=["m", "f"])', ["1", "sex[T.f]"], [1 - MALE]),
        (
            "C(year, contr.treatment(1991))",
            ["1", "year[T.1990]", "year[T.1992]"],
            [ROWS["year"] == 1990, ROWS["year"] == 1992],
        ),
        ("dose", ["1", "dose[T.mid]", "dose[T.high]"],
         [ROWS["dose"] == "mid", ROWS["dose"] == "high"]),
        ("smoker", ["1", "smoker"], [ROWS["smoker"]]),
        ("C(smoker)", ["1", "smoker[T.True]"], [ROWS["smoker"]]),
        ("age:sex", ["1", "age:sex[f]", "age:sex[m]"], [AGE * (1 - MALE), AGE * MALE]),
        ("age * sex", ["1", "age", "sex[T.m]", "age:sex[T.m]"], [AGE, MALE, AGE * MALE]),
        ("sex / age", ["1", "sex[T.m]", "sex[f]:age", "sex[m]:age"], None),
        ("age:sex + age", ["1", "age", "age:sex[T.m]"], [AGE, AGE * MALE]),
        ("(age + sex + smoker)**2 - age:sex", ["1", "age", "sex[T.m]", "smoker", "age:smoker",
         "sex[T.m]:smoker"], None),
        ("log(age + 1)", ["1", "log(age + 1)"], [np.log(AGE + 1)]),
        ("I(age**2 / 100 - -3)", ["1", "I(age ** 2 / 100 - -3)"], [AGE**2 / 100 + 3]),
        ("I(-age)", ["1", "I(-age)"], [-AGE]),
        ("I(2 ** (age / 10) ** 0.5)", ["1", "I(2 ** (age / 10) ** 0.5)"], [2 ** np.sqrt(AGE / 10)]),
        ("I((2 ** 0.5) ** sqrt(age))", ["1", "I((2 ** 0.5) ** sqrt(age))"],
         [2 ** (np.sqrt(AGE) / 2)]),
        ("log1p(smoker)", ["1", "log1p(smoker)"], [np.log(2) * ROWS["smoker"]]),
        ("exp(age / 10) + log2(age) + log10(year - 1985)",
         ["1", "exp(age / 10)", "log2(age)", "log10(year - 1985)"],
         [np.exp(AGE / 10), np.log2(AGE), np.log10(ROWS["year"] - 1985)]),
        ("`n visits` + size.f", ["1", "n visits", "size.f"], [ROWS["n visits"], ROWS["size.f"]]),
        ("log + log(log)", ["1", "log", "log(log)"], [ROWS["log"], np.log(ROWS["log"])]),
        ("_x0_ + age", ["1", "_x0_", "age"], [ROWS["_x0_"], AGE]),
        ("center(age)", ["1", "center(age)"], [AGE - AGE.mean()]),
        ("scale(age, ddof=0)", ["1", "scale(age, ddof=0)"], [(AGE - AGE.mean()) / AGE.std()]),
        ("poly(age, 2, raw=True)", ["1", "poly(age, degree=2, raw=True)[0]",
         "poly(age, degree=2, raw=True)[1]"], [AGE, AGE**2]),
        ("bs(log(age), df=4)", ["1", *(f"bs(log(age), df=4)[{j}]" for j in range(1, 5))], None),
        ("cr(age, df=3)", ["1", *(f"cr(age, df=3)[{j}]" for j in range(1, 4))], None),
        ("cs(age, knots=[30, 40], constraints='center')",
         ["1", *(f"cs(age, knots=[30, 40])[{j}]" for j in range(1, 4))], None),
        ("cc(age, 3)", ["1", *(f"cc(age, df=3)[{j}]" for j in range(1, 4))], None),
    ],
)  # fmt: skip
def test_matrices_are_those_that_the_formula_says(text, terms, columns):
    coding, matrix = coded(text)
    assert matrix.dtype == np.float64
    assert matrix.shape == (6, len(coding.terms))
    if terms is not None:
        assert list(coding.terms) == terms
    if columns is not None:
        np.testing.assert_allclose(matrix, np.stack([YOUNG, *columns], axis=1), rtol=1e-14)
    assert np.linalg.matrix_rank(matrix) == len(coding.terms)
    assert coding.numeric == tuple(not np.isin(column, [0, 1]).all() for column in matrix.T)
    # the same rows are coded in the same way, in any order and any number
    order = [3, 0, 0, 5]
    again = coding.matrix({name: column[order] for name, column in ROWS.items()}, 4)
    np.testing.assert_allclose(again, matrix[order], rtol=1e-12, atol=1e-14)


def test_a_formula_says_what_it_uses():
    formula = Formula.parse("  log(b) + a*`c d` - a:`c d` + b - b ", "mean_formula")
    assert formula.text == "log(b) + a*`c d` - a:`c d` + b - b"
    assert formula.names == ("b", "a", "c d")
    assert not formula.is_constant
    for text in ("1", " 1 + 1", "a - a"):
        assert Formula.parse(text, "mean_formula") == Formula.parse("1", "mean_formula")
        assert Formula.parse(text, "mean_formula").is_constant
    assert Formula.parse("1", "mean_formula").text == "1"


def test_the_intercept_needs_no_covariates():
    coding, matrix = coded("1", {})
    assert matrix.tolist() == [[1.0]]
    assert coding.matrix({}, 3).tolist() == [[1.0]] * 3
    assert coding.numeric == (False,)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ['empty; write "1"']),
        ("  ", ["empty"]),
        ("y ~ x", ["no response"]),
        ("~ x", ["no response"]),
        ("0", ["intercept is implied"]),
        ("0 + x", ["intercept is implied"]),
        ("x + 0", ["intercept is implied"]),
        ("x - 1", ["intercept is implied"]),
        ("-1 + x", ["intercept is implied"]),
        ("x - (1 + x)", ["intercept is implied"]),
        ("-x", ["begins with '-'"]),
        (".", ["'.' for all columns"]),
        ("x + .", ["'.' for all columns"]),
        ("x | z", ["'|' is not known"]),
        ("a %in% b", ["'%' is not known"]),
        ("x - z", ["'- z' takes away a term that is not there"]),
        ("x**2", ["x**2 would be x itself", "I(x**2)"]),
        ("(x + z)**9", ["a whole number from 1 to 5", "'9'"]),
        ("(x + z)**x", ["a whole number from 1 to 5"]),
        ("2*x", ["the number 2 is no term"]),
        ("I(3)", ["I(3) has no column"]),
        ("x z", ["'z' stands where an operator"]),
        ("x +", ["it ends where a column is expected"]),
        ("(x", ["it ends where ')' is expected"]),
        ("x)", ["')' stands where"]),
        ("x + 'z'", ["the quotation 'z' has no place"]),
        ('f"x"', ["has no place"]),
        ("x['a']", ["brackets"]),
        ("[x for x in y]", ["brackets"]),
        ("x:{open('f', 'w')}", ["braces"]),
        ("open('f', 'w')", ["'open' is no function", "C, I, log"]),
        ("np.log(x)", ["'np.log' is no function"]),
        ("x.sum()", ["'x.sum' is no function"]),
        ("x.__class__", ["'x.__class__' is no name"]),
        ("`__class__`", ["'__class__' is no name"]),
        ("__import__('os')", ["'__import__'"]),
        ("I(__import__('os').getpid() * x)", ["'__import__'"]),
        ("log(x.__len__())", ["'x.__len__'"]),
        ("lambda: 1", ["'lambda' is a word of Python"]),
        ("x if x else z", ["'if' stands where"]),
        ("log(lambda)", ["'lambda' is a word of Python"]),
        ("x := 1", ["'=' stands where"]),
        ("x @ z", ["'@' has no place"]),
        ("x\\z", ["has no place"]),
        ("x;z", ["';' has no place"]),
        ("`x", ["back quote"]),
        ("C(x, 'z", ["quotation has no end"]),
        ("log()", ["a column is expected"]),
        ("log(x, 2)", ["',' stands where ')'"]),
        ("log(scale(x))", ["'scale' cannot stand inside another function"]),
        ("C(log(x))", ["'(' stands where"]),
        ("C(x, Sum)", ["'Sum' stands where contr.treatment"]),
        ("C(x, spans=1)", ["no option 'spans'"]),
        ("C(x, levels=['a'], levels=['b'])", ["twice"]),
        ("bs(x, df=1000)", ["bs(df=1000): expected a whole number from 1 to 50"]),
        ("bs(x, df=True)", ["a whole number"]),
        ("bs(x, knots=3)", ["'3' stands where '['"]),
        ("bs(x, knots=['a'])", ["numbers in brackets"]),
        (f"bs(x, knots=[{', '.join(['1'] * 51)}])", ["51 entries; at most 50"]),
        ("bs(x, extrapolation='na')", ["'raise' or 'clip'"]),
        ("bs(x, func=1)", ["no option 'func'", "df, knots"]),
        ("bs(x, df=4, df=5)", ["twice"]),
        ("bs(x, lower_bound='a')", ["expected a number"]),
        ("poly(x, raw=1)", ["expected True or False"]),
        ("scale(x, True)", ["an option of scale() as name=value"]),
        ("center(x, 1)", ["an option of center()"]),
        ("cr(x)", ["cr() needs df=... or knots=[...]"]),
        ("I(1e999 * x)", ["above 1e308"]),
        ("x" * 1001, ["1001 characters; at most 1000"]),
        ("(" * 50 + "x" + ")" * 50, ["nested more than 30 deep"]),
        ("I(" + "-" * 50 + "x)", ["nested more than 30 deep"]),
        ("I(" + "+".join(["x"] * 200) + ")", ["more than 100 sums and products"]),
        ("*".join("abcdefgh"), ["more than 200 terms"]),
    ],
)  # fmt: skip
def test_whatever_is_not_in_the_grammar_is_refused_by_name(text, parts):
    said = refused(lambda: Formula.parse(text, "mean_formula"))
    for part in parts:
        assert part in said


@pytest.mark.parametrize("text", [None, 1, ["x"], b"x"])
def test_a_formula_is_text(text):
    with pytest.raises(TypeError, match=r"mean_formula must be a formula as text.*got"):
        Formula.parse(text, "mean_formula")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("agee", ["no column 'agee'", "Near it: 'age'", "Columns there are: 'age', 'sex'"]),
        ("Sex", ["no column 'Sex'", "Near it: 'sex'"]),
        ("log(sex)", ["log(sex) needs numbers", "'sex' holds text, such as 'f'"]),
        ("scale(dose)", ["needs numbers", "such as 'low'"]),
        ("log(age - 20)", ["log(age - 20) is -inf where age = 20.0.", "log1p"]),
        ("I(1 / (age - year + 1956))", ["is inf where age = 35.0, year = 1991.0"]),
        ("exp(age * 1e6)", ["is inf"]),
        ("C(sex, Treatment('x'))", ["no category 'x'", "'f', 'm'"]),
        ("C(sex, levels=['f'])", ["must name each category once; got 'f'"]),
        ("C(sex, levels=['f', 'm', 'm'])", ["must name each category once"]),
        ("bs(age, df=2)", ["bs(age, df=2)", "df"]),
        ("C(sex) + sex", ["two columns would be called 'sex[T.m]'"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_data_is_said(text, parts):
    said = refused(lambda: coded(text))
    for part in parts:
        assert part in said


def test_without_covariates_there_is_no_column():
    assert "There are no covariates" in refused(lambda: coded("age", {}))


def test_a_column_of_one_value_is_said():
    rows = as_covariates({"sex": ["f", "f"], "age": [1, 1], "year": [1990, 1990]}, 2)
    assert "column 'sex' is 'f' in every row" in refused(lambda: coded("sex", rows))
    assert "column 'year' is '1990' in every row" in refused(lambda: coded("C(year)", rows))
    assert "scale(age) has no finite value where age = 1.0" in refused(
        lambda: coded("scale(age)", rows)
    )


def test_a_category_may_look_like_the_name_of_a_column():
    rows = as_covariates({"a": ["_x0_", "_x1_", "_xx0_"], "b": [1, 2, 3]}, 3)
    coding, matrix = coded("b + a", rows)
    assert coding.terms == ("1", "b", "a[T._x1_]", "a[T._xx0_]")
    assert matrix[:, 1].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("rows", "error", "parts"),
    [
        ({"age": [1, 2], "sex": ["f", "x"], "year": [1990, 1991]}, ValueError,
         ["mean_formula: column sex has the category 'x' in row 1", "'f', 'm'"]),
        ({"age": [1, 2], "sex": ["f", "m"], "year": [1990, 2000]}, ValueError,
         ["column year has the category '2000' in row 1", "'1990', '1991', '1992'"]),
        ({"age": [1, 2], "sex": ["f", "m"]}, ValueError, ["no column 'year'"]),
        ({"age": [1, None], "sex": ["f", "m"], "year": [1990, 1991]}, ValueError,
         ["covariate 'age' has 1 missing value, the first at index 1"]),
        ({"age": [1, 2], "sex": ["f", None], "year": [1990, 1991]}, ValueError,
         ["covariate 'sex' has 1 missing value"]),
        ({"age": [1, -1], "sex": ["f", "m"], "year": [1990, 1991]}, ValueError,
         ["log(age) is nan where age = -1.0 in row 1"]),
        ({"age": ["a", "b"], "sex": ["f", "m"], "year": [1990, 1991]}, ValueError,
         ["log(age) needs numbers"]),
        ({"age": [1], "sex": ["f", "m"], "year": [1990, 1991]}, ValueError,
         ["'age' has 1 entries but there are 2"]),
    ],
)  # fmt: skip
def test_new_rows_that_cannot_be_coded_are_named(rows, error, parts):
    coding, _ = coded("log(age) + sex + C(year)")
    with pytest.raises(error) as caught:
        coding.matrix(rows, 2)
    for part in parts:
        assert part in str(caught.value)


def test_new_rows_may_come_in_other_types():
    coding, _ = coded("sex + C(year) + smoker + dose")
    frame = pd.DataFrame(
        {
            "other": [None, None],
            "dose": ["high", "low"],
            "smoker": [1, 0],
            "sex": pd.Categorical(["m", "f"], categories=["m", "f"]),
            "year": ["1992", "1990"],
        }
    )
    expected = [[1, 1, 0, 1, 1, 0, 1], [1, 0, 0, 0, 0, 0, 0]]
    assert coding.terms[1:4] == ("sex[T.m]", "year[T.1991]", "year[T.1992]")
    np.testing.assert_array_equal(coding.matrix(frame, 2), expected)


def test_a_category_that_no_row_had_is_none():
    coding, _ = coded("dose")
    with pytest.raises(ValueError, match="column dose has the category 'none' in row 0"):
        coding.matrix({"dose": ["none"]}, 1)


def test_splines_and_scales_keep_what_they_saw():
    for text in ("scale(age)", "poly(age, 3)", "cr(age, df=3)"):
        coding, matrix = coded(text)
        np.testing.assert_allclose(coding.matrix({"age": AGE[2:4]}, 2), matrix[2:4], atol=1e-12)
    coding, _ = coded("bs(age, df=4)")
    with pytest.raises(ValueError, match=r"mean_formula: .*bs\(age, df=4\).* bound"):
        coding.matrix({"age": [90]}, 1)


@pytest.fixture
def canary(monkeypatch, tmp_path):
    """A list of what was called that only evaluated text could call."""
    heard = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtins, "canary", lambda *args: heard.append(args), raising=False)
    monkeypatch.setattr(os, "system", lambda *args: heard.append(args))
    monkeypatch.setattr(os, "getlogin", lambda: heard.append("getlogin"))
    return heard


HOSTILE = (
    "canary()", "age:{canary()}", "I(canary())", "I(age.canary())", "`canary()`", "log(canary())",
    "C(sex, canary())", "C(sex, levels=canary())", "bs(age, df=canary())", "Q('canary()')",
    "C(sex, contr.treatment(canary()))", "poly(age, degree=canary())", "np.exec('canary()')",
    "hashed(sex, levels=canary())", "(canary)(1)", "age + __import__('os').system('x')",
    "age[canary()]", "I(age + {canary()})", "'canary()'", "f'{canary()}'",
    "age if canary() else sex",
    "lambda: canary()", "[canary() for i in age]", "lag(age, canary())", "eval('canary()')",
    "C(sex, {canary()})",
    "`{canary()}` + age", "`age`:`sex`", "age\n+canary()", "#canary()\nage", "C(`sex`)",
    "log(`age`)",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_no_formula_runs_code(text, canary, tmp_path):
    rows = {**ROWS, "canary()": AGE, "{canary()}": AGE}
    try:
        coded(text, rows)
        nb.MixtureSpec(mean_formula=text)
    except ValueError:
        pass
    assert canary == []
    assert list(tmp_path.iterdir()) == []


PIECES = st.sampled_from(
    ["age", "sex", "canary", "()", "(", ")", "+", ":", "*", "**", "2", "1", " ", "`", "{", "}",
     "'", '"', "I(", "C(", "log(", "bs(", ", df=4)", "__import__", ".", "os.getlogin()", "[", "]",
     "~", "|", "lambda", "=", "\n", "@", "contr.treatment("]
)  # fmt: skip
ALPHABET = st.sampled_from(string.printable + "éß€\u2028\x00")
ARBITRARY = st.one_of(
    st.text(max_size=40),
    st.text(ALPHABET, max_size=40),
    st.lists(PIECES, max_size=15).map("".join),
    st.lists(st.sampled_from(HOSTILE), max_size=3).map(" + ".join),
)


def test_arbitrary_text_runs_nothing(canary, tmp_path):
    @settings(deadline=None)
    @given(ARBITRARY)
    def tried(text):
        said = ""
        try:
            coding, matrix = coded(text)
        except ValueError as error:
            said = str(error)
        if said:
            assert said.startswith("mean_formula: ")
        else:
            assert np.isfinite(matrix).all()
            assert (matrix[:, 0] == 1).all()
            assert len(set(coding.terms)) == matrix.shape[1]
        assert canary == []

    tried()
    assert not [path for path in tmp_path.iterdir() if path.name != ".hypothesis"]


def test_whatever_is_read_is_written_and_read_again():
    @settings(deadline=None)
    @given(st.lists(PIECES.filter(lambda piece: piece != "`"), max_size=12).map("".join))
    def tried(text):
        try:
            formula = Formula.parse(text, "f")
        except ValueError:
            return
        labels = [factor.label for term in formula.terms for factor in term]
        for factor_label in labels:
            again = Formula.parse(factor_label, "f")
            assert [factor.label for term in again.terms for factor in term] == [factor_label]

    tried()
