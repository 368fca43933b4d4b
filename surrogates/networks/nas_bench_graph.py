"""The graph neural networks of NAS-Bench-Graph (Qin et al. 2022, NeurIPS Datasets and Benchmarks, section 3)."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from surrogates.space import Arch
from surrogates.spaces.nas_bench_graph import OPERATIONS

with warnings.catch_warnings():
    # Its own import uses torch.jit.script, of which newer versions of PyTorch warn.
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.nn import ARMAConv, ChebConv, GATConv, GCNConv, GINConv, GraphConv, SAGEConv


class Cell(nn.Module):
    """Four layers; the results of those that no other layer reads are joined.

    links: what each layer reads: 0 is the cell's input, 1 to 4 are the layers.
    operations: names of the operations of the layers.
    raw: whether the input is the nodes' features, which are not normalised.
    """

    def __init__(
        self, links: Sequence[int], operations: Sequence[str], inputs: int, width: int, dropout: float, raw: bool
    ) -> None:
        super().__init__()
        make = {
            "gat": lambda n: GATConv(n, width // 4, heads=4),
            "gcn": lambda n: GCNConv(n, width),
            "gin": lambda n: GINConv(nn.Linear(n, width)),
            "cheb": lambda n: ChebConv(n, width, K=2),
            "sage": lambda n: SAGEConv(n, width),
            "arma": lambda n: ARMAConv(n, width),
            "graph": lambda n: GraphConv(n, width),
            "fc": lambda n: nn.Linear(n, width),
            "skip": lambda n: nn.Identity(),
        }
        widths, self.raw = [inputs], [raw]
        for link, name in zip(links, operations, strict=True):
            widths.append(widths[link] if name == "skip" else width)
            self.raw.append(self.raw[link] and name == "skip")
        self.layers = nn.ModuleList(make[name](widths[link]) for link, name in zip(links, operations, strict=True))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in links)
        self.dropout = nn.Dropout(dropout)
        self.links, self.ends = links, [layer for layer in range(1, 5) if layer not in links]

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Returns (nodes, ends * width) of x, (nodes, inputs), and the edges, (2, n)."""
        results = [x]
        for link, layer, norm in zip(self.links, self.layers, self.norms, strict=True):
            read = results[link] if self.raw[link] else self.dropout(norm(results[link]).relu())
            results.append(layer(read) if isinstance(layer, nn.Linear | nn.Identity) else layer(read, edges))
        return torch.cat([results[layer] for layer in self.ends], dim=1)


class Network(nn.Module):
    """A cell between linear layers, which classifies the nodes of a graph.

    The authors chose width, dropout and the linear layers before and after for each data set.

    Args:
        arch: The cell.
        features: Number of features of a node of the graph.
        classes: Number of classes.
        width: Channels of each layer, divisible by 4.
        before: Whether a linear layer precedes the cell.
        after: Whether another linear layer follows the one that joins the ends of the cell.
        dropout: Share of the channels that are dropped in training.
    """

    def __init__(
        self,
        arch: Arch,
        features: int,
        classes: int,
        width: int = 256,
        before: bool = False,
        after: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        links, names = arch[:4], [OPERATIONS[op] for op in arch[4:]]
        self.dropout = nn.Dropout(dropout)
        self.before = nn.Linear(features, width) if before else nn.Identity()
        self.cell = Cell(links, names, width if before else features, width, dropout, raw=not before)
        joined = nn.Linear(len(self.cell.ends) * width, width if after else classes)
        self.after = nn.Sequential(nn.ReLU(), joined, nn.Linear(width, classes) if after else nn.Identity())

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Returns logits of the nodes, (nodes, classes).

        Args:
            x: Features, (nodes, features).
            edges: Pairs (from, to) of nodes, (2, edges).
        """
        return self.after(self.cell(self.before(self.dropout(x)), edges))
