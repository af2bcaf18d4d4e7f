"""The maximum likelihood fit in the form that scikit-learn works with."""
