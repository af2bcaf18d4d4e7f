"""Whatever fits more than once: every number of components, and LOO's exact refits."""

from pmnbmix.study.choose import Choice, choose_components, make_choice
from pmnbmix.study.fitting import Fitted, fit_all

__all__ = ["Choice", "Fitted", "choose_components", "fit_all", "make_choice"]
