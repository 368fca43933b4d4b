"""The cross-entropy method as the theory needs it."""

from bench.method import preset
from bench.methods.cross_entropy import cross_entropy

exact_ce = preset(
    cross_entropy,
    "exact_ce",
    "The cross-entropy method under the theorem's assumptions: tuned on a sample of p_t given E, τ fixed.",
    control="eda",
    corpus="current_elites",
    elite="first_share",
    novelty="off",
    held_out=0.2,
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    dropout=0.0,
    learning_rate=1e-3,
    epochs=20,
    batch=0,
    likelihood="constrained",
)
