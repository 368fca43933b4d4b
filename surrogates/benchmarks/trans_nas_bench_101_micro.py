"""TransNAS-Bench-101, its cells, on the official table if the user added it, else on a surrogate."""

from dataclasses import replace

from surrogates import fitted
from surrogates.stored_benchmark import table_or

# The official file has the published metric of segmentation, the surrogate's table another one.
TASKS = {
    name: replace(task, metric="mIoU") if name == "segmentsemantic" else task
    for name, task in fitted.TRANS_NAS_BENCH_101_MICRO.tasks.items()
}
SOURCE = "TransNAS-Bench-101 (Duan et al. 2021, CVPR), MIT; scores of the last epoch"

trans_nas_bench_101_micro = table_or(fitted.TRANS_NAS_BENCH_101_MICRO, TASKS, SOURCE)
