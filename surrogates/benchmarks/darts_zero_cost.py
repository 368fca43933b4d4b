"""A zero-cost proxy on the space of DARTS: what untrained networks score, not what trained ones would."""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

from surrogates.benchmark import Benchmark, Scores, Task
from surrogates.errors import InputError
from surrogates.space import Arch
from surrogates.spaces.darts import darts

CHANNELS, CELLS, IMAGES, SEED = 4, 5, 16, 0
"""Of the networks and of the batch that the proxy looks at; the seed of weights and images."""

RESOLUTIONS = {"16px": 16, "32px": 32}
"""Height and width of the images of each task."""


def naswot(arch: Arch, resolution: int) -> float:
    """Returns the score of Mellor et al. 2021 ("Neural architecture search without training", ICML): log |det K|.

    K counts, for each two images of a batch, the ReLUs of the untrained network that are on for both or off for both.
    Weights and images (Gaussian noise) are those of a fixed seed. NaN where K is singular.
    """
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        images = torch.randn(IMAGES, 3, resolution, resolution)
        network = darts.build(arch, channels=CHANNELS, cells=CELLS)
        alike = torch.zeros(IMAGES, IMAGES, dtype=torch.float64)

        def count(_: torch.nn.Module, __: object, made: torch.Tensor) -> None:
            signs = (made.flatten(1) > 0).float() * 2 - 1
            alike.add_((signs.shape[1] + signs @ signs.T) / 2)

        for module in network.modules():
            if isinstance(module, torch.nn.ReLU):
                module.register_forward_hook(count)
        network(images)
    score = np.linalg.slogdet(alike.numpy()).logabsdet
    return float(score) if np.isfinite(score) else np.nan


class DartsZeroCost(Benchmark):
    """NASWOT on the space of DARTS, on noise of two resolutions; about a tenth of a second an architecture."""

    name = "darts-zero-cost"
    version = "1"
    kind = "proxy"
    space = darts
    tasks = {name: Task(name, "NASWOT score", "", ("validation",)) for name in RESOLUTIONS}  # noqa: RUF012
    note = (
        f"A zero-cost proxy, not an accuracy: the NASWOT score of untrained networks of {CELLS} cells and {CHANNELS} "
        f"channels on {IMAGES} images of noise. One score with no split. Its optimum is not known."
    )
    source = "computed here; Mellor et al. 2021, ICML (NASWOT), on the space of Liu et al. 2019, ICLR (DARTS)"

    @property
    def checksum(self) -> str:
        """SHA-256 of what decides the scores; PyTorch's version is part of it.

        Raises:
            InputError: PyTorch is not installed.
        """
        try:
            settings = [RESOLUTIONS, CHANNELS, CELLS, IMAGES, SEED, version("torch")]
        except PackageNotFoundError:
            raise InputError(f"{self.name} needs the package torch: pip install 'nascent[train]'") from None
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()

    def query(
        self,
        archs: Sequence[Arch] | NDArray[np.integer],
        task: str,
        fidelity: int | None = None,
        seed: int | None = None,
    ) -> Scores:
        """Returns the proxy's scores as validation; see `Benchmark.query`."""
        self._refuse_unknown(self.task(task), fidelity, seed)
        listed = [tuple(arch) for arch in self.space.as_array(archs).tolist()]
        scores = np.array([naswot(arch, RESOLUTIONS[task]) for arch in listed], dtype=np.float64)
        return Scores(scores, *(np.full(len(scores), np.nan) for _ in Scores._fields[1:]))


darts_zero_cost = DartsZeroCost()
