import pytest

from tests.estimator.data import X, X_exposed, exposure, mixture


@pytest.fixture(scope="module")
def fitted():
    return mixture().fit(X)


@pytest.fixture(scope="module")
def exposed():
    return mixture().fit(X_exposed, exposure=exposure)


@pytest.fixture(scope="module")
def sklearn():
    return pytest.importorskip("sklearn", reason="scikit-learn, whose tools are tried here")


@pytest.fixture
def routing(sklearn):
    with sklearn.config_context(enable_metadata_routing=True):
        yield
