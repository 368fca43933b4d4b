"""TransNAS-Bench-101, its network skeletons, on the official table if the user added it, else on a surrogate."""

from surrogates import fitted
from surrogates.benchmarks.trans_nas_bench_101_micro import SOURCE, TASKS
from surrogates.stored_benchmark import table_or

trans_nas_bench_101_macro = table_or(fitted.TRANS_NAS_BENCH_101_MACRO, TASKS, SOURCE)
