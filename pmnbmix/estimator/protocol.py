"""What scikit-learn asks of any estimator, without scikit-learn.

Inheriting from its base class would make scikit-learn a dependency. The class here keeps to the
protocol instead, and loads scikit-learn only when scikit-learn itself asks.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, Self

import numpy as np

from pmnbmix.point.optima import Status
from pmnbmix.point.result import PointFit

# A user tells scikit-learn to pass an argument on (True), not to (False), to refuse it (None), or
# to take it under another name (str).
Request = bool | str | None
RandomState = int | np.random.Generator | np.random.RandomState | None

# A request that is this word stays as it was; sklearn.utils.metadata_routing uses the same word.
_UNCHANGED = "$UNCHANGED$"
_ROUTED = {
    "fit": ("exposure", "sample_weight"),
    "predict": ("exposure",),
    "predict_proba": ("exposure",),
    "score": ("exposure", "sample_weight"),
}


class NotFittedError(ValueError, AttributeError):
    """An estimator was used before `fit`; this class serves if scikit-learn is not loaded."""


class Protocol:
    """What scikit-learn asks of any estimator: parameters, tags and requests for metadata."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; ``deep`` changes nothing, as none is an estimator."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Raises
        ------
        ValueError
            For a name that is not a parameter; then none of them is set.
        """
        known = list(self.get_params())
        for name in params:
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self!r}. Valid parameters are: "
                    f"{', '.join(known)}."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def get_metadata_routing(self) -> Any:
        """Return which arguments the methods request of scikit-learn's routing."""
        from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

        if hasattr(self, "_metadata_request"):
            return get_routing_for_object(self._metadata_request)
        requests = MetadataRequest(owner=type(self).__name__)
        for method, arguments in _ROUTED.items():
            for argument in arguments:
                getattr(requests, method).add_request(param=argument, alias=None)
        return requests

    def set_fit_request(
        self, *, exposure: Request = _UNCHANGED, sample_weight: Request = _UNCHANGED
    ) -> Self:
        """Say whether scikit-learn passes these on to ``fit``; see its metadata routing."""
        return self._request("fit", exposure=exposure, sample_weight=sample_weight)

    def set_predict_request(self, *, exposure: Request = _UNCHANGED) -> Self:
        """Say whether scikit-learn passes the exposure on to ``predict``."""
        return self._request("predict", exposure=exposure)

    def set_predict_proba_request(self, *, exposure: Request = _UNCHANGED) -> Self:
        """Say whether scikit-learn passes the exposure on to ``predict_proba``."""
        return self._request("predict_proba", exposure=exposure)

    def set_score_request(
        self, *, exposure: Request = _UNCHANGED, sample_weight: Request = _UNCHANGED
    ) -> Self:
        """Say whether scikit-learn passes these on to ``score``."""
        return self._request("score", exposure=exposure, sample_weight=sample_weight)

    def _request(self, method: str, **asked: Request) -> Self:
        from sklearn import get_config

        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                f"set_{method}_request() needs scikit-learn's metadata routing. Enable it with "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        requests = self.get_metadata_routing()
        for argument, alias in asked.items():
            if alias != _UNCHANGED:
                getattr(requests, method).add_request(param=argument, alias=alias)
        # The attribute has this name because sklearn.base.clone() copies it.
        self._metadata_request = requests
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="density_estimator",
            target_tags=TargetTags(required=False),
            transformer_tags=None,
            classifier_tags=None,
            regressor_tags=None,
            input_tags=InputTags(positive_only=True),
        )

    def check_fitted(self) -> None:
        """Raise an error if ``fit`` was not called."""
        if not self.__sklearn_is_fitted__():
            text = (
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with counts "
                "before using this estimator."
            )
            # Whoever catches scikit-learn's own error has loaded scikit-learn before.
            if sys.modules.get("sklearn") is not None:
                from sklearn import exceptions

                raise exceptions.NotFittedError(text)
            raise NotFittedError(text)

    def _keep(self, found: PointFit, n_features: int, names: list[str] | None) -> None:
        """Set the attributes that every fitted estimator of this package has."""
        # The columns of an earlier fit may have had names, which these do not have.
        vars(self).pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        self.n_features_in_ = n_features
        self.fit_ = found
        self.log_likelihood_ = found.log_likelihood
        self.status_ = str(found.status)
        self.converged_ = not {Status.MAX_ITER, Status.SADDLE, Status.INTERRUPTED}.intersection(
            found.statuses
        )
        self.n_iter_ = found.n_iter

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fit_")

    def __repr__(self) -> str:
        signature = inspect.signature(type(self).__init__).parameters
        # The texts are compared, because comparing arrays does not give one truth value.
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if repr(value) != repr(signature[name].default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


def random_seed_of(random_state: RandomState) -> int | np.random.Generator | None:
    """Turn a ``random_state`` into a ``random_seed``; a RandomState is advanced by one draw."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if random_state is None or isinstance(random_state, np.random.Generator):
        return random_state
    whole = isinstance(random_state, int | np.integer) and not isinstance(random_state, bool)
    if not whole or random_state < 0:
        raise ValueError(
            "random_state must be None, an integer of 0 or above, a numpy.random.Generator or a "
            f"numpy.random.RandomState; got {random_state!r}."
        )
    return random_state
