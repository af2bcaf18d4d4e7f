from .batch.column_fits import ColumnFits as ColumnFits
from .batch.columns import fit_columns as fit_columns
from .data.counts import Counts as Counts
from .data.datasets import list_datasets as list_datasets
from .data.datasets import load_dataset as load_dataset
from .data.datasets import simulate_droplets as simulate_droplets
from .data.readers import read_counts as read_counts
from .estimator.mixture import NegativeBinomialMixture as NegativeBinomialMixture
from .estimator.regressor import (
    NegativeBinomialMixtureRegressor as NegativeBinomialMixtureRegressor,
)
from .labels.coclustering import CoClustering as CoClustering
from .labels.coclustering import co_cluster as co_cluster
from .labels.diagnose import Diagnosis as Diagnosis
from .labels.diagnose import diagnose as diagnose
from .labels.relabel import relabel as relabel
from .labels.relabel_draws import relabel_draws as relabel_draws
from .mixture.params import MixtureParams as MixtureParams
from .mixture.priors import DirichletPrior as DirichletPrior
from .mixture.priors import NormalPrior as NormalPrior
from .mixture.spec import MixtureSpec as MixtureSpec
from .point.bootstrap import BootstrapTest as BootstrapTest
from .point.bootstrap import bootstrap_lrt as bootstrap_lrt
from .point.effects import effects as effects
from .point.fit import fit_em as fit_em
from .point.fit import fit_map as fit_map
from .point.goodness import GoodnessOfFit as GoodnessOfFit
from .point.goodness import goodness_of_fit as goodness_of_fit
from .point.optima import Status as Status
from .point.resample import Bootstrap as Bootstrap
from .point.result import PointFit as PointFit
from .posterior.columns import sample_columns as sample_columns
from .posterior.derived import add_rates as add_rates
from .posterior.derived import add_responsibilities as add_responsibilities
from .posterior.foreign import from_datatree as from_datatree
from .posterior.inference import sample as sample
from .posterior.laplace import laplace as laplace
from .posterior.model import build_model as build_model
from .posterior.starting import start_points as start_points
from .present import plots as plots
from .present.report import write_report as write_report
from .selection.adequacy import loo_pit as loo_pit
from .selection.adequacy import quantile_residuals as quantile_residuals
from .selection.compare import compare_estimates as compare_estimates
from .selection.evidence import Evidence as Evidence
from .selection.evidence import log_evidence as log_evidence
from .selection.loo import loo as loo
from .selection.stacking import StackedChains as StackedChains
from .selection.stacking import stack_chains as stack_chains
from .study import Choice as Choice
from .study import choose_components as choose_components
from .tree.storage import load as load
from .tree.storage import save as save
from .tree.writing import add_log_likelihood as add_log_likelihood

__version__: str

__all__ = [
    "Bootstrap",
    "BootstrapTest",
    "Choice",
    "CoClustering",
    "ColumnFits",
    "Counts",
    "Diagnosis",
    "DirichletPrior",
    "Evidence",
    "GoodnessOfFit",
    "MixtureParams",
    "MixtureSpec",
    "NegativeBinomialMixture",
    "NegativeBinomialMixtureRegressor",
    "NormalPrior",
    "PointFit",
    "StackedChains",
    "Status",
    "add_log_likelihood",
    "add_rates",
    "add_responsibilities",
    "bootstrap_lrt",
    "build_model",
    "choose_components",
    "co_cluster",
    "compare_estimates",
    "diagnose",
    "effects",
    "fit_columns",
    "fit_em",
    "fit_map",
    "from_datatree",
    "goodness_of_fit",
    "laplace",
    "list_datasets",
    "load",
    "load_dataset",
    "log_evidence",
    "loo",
    "loo_pit",
    "plots",
    "quantile_residuals",
    "read_counts",
    "relabel",
    "relabel_draws",
    "sample",
    "sample_columns",
    "save",
    "simulate_droplets",
    "stack_chains",
    "start_points",
    "write_report",
]
