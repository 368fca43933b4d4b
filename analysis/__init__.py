"""Results to statistics, claims, figures and reports."""
