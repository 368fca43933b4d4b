"""An estimation-of-distribution algorithm: the control of the cross-entropy methods."""

from dataclasses import replace

from bench.method import preset
from bench.methods.exact_ce import exact_ce

eda = replace(
    preset(
        exact_ce,
        "eda",
        "exact_ce with independent categoricals in place of the language model (Mühlenbein and Paaß 1996).",
        control="",
        held_out=0.0,
    ),
    prompts=(),
)
