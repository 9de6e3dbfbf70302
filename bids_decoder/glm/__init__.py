"""Design matrices and single-trial estimators, on arrays."""
