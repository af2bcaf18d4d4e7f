"""Whatever fits more than once: every number of components, and LOO's exact refits."""

from pmnbmix.study.choice import Choice, make_choice
from pmnbmix.study.choose import choose_components
from pmnbmix.study.fitting import Fitted, fit_all

__all__ = ["Choice", "Fitted", "choose_components", "fit_all", "make_choice"]
