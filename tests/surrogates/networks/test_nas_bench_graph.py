import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from surrogates.spaces.nas_bench_graph import OPERATIONS, nas_bench_graph

EDGES = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])


def small(text: str, **options):
    return nas_bench_graph.build(nas_bench_graph.parse(text), features=5, classes=2, width=8, **options)


@pytest.mark.parametrize(
    ("task", "features", "classes", "options"),
    [
        ("cora", 1_433, 7, {"width": 256, "before": False, "after": True}),
        ("pubmed", 500, 3, {"width": 128, "before": False, "after": False}),
        ("cs", 6_805, 15, {"width": 128, "before": True, "after": False}),
        ("computers", 767, 10, {"width": 64, "before": True, "after": True}),
    ],
)
def test_parameters_are_those_of_the_table(graph, task, features, classes, options):
    """Features and classes are those of the data sets; width and layers before and after, the authors' choices."""
    rng = np.random.default_rng(0)
    for arch in [nas_bench_graph.sample(rng) for _ in range(25)]:
        network = nas_bench_graph.build(arch, features=features, classes=classes, **options)
        assert sum(p.numel() for p in network.parameters()) == graph.query([arch], task).parameters[0]


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("op", OPERATIONS[:-1])
def test_nodes_are_classified_with_every_operation(op, before):
    network = small(f"links=0,0,1,2 ops={op},skip,gcn,{op}", before=before)
    assert network(torch.randn(6, 5), EDGES).shape == (6, 2)


def test_only_the_graph_operations_look_at_the_edges():
    x = torch.randn(6, 5)
    for op in OPERATIONS[:-1]:
        network = small(f"links=0,1,2,3 ops={op},fc,fc,skip").eval()
        same = torch.allclose(network(x, EDGES), network(x, EDGES.flip(0)))
        assert same == (op == "fc")


def test_layers_that_no_other_reads_are_joined():
    assert small("links=0,0,0,1 ops=gcn,gcn,gcn,gcn").get_submodule("cell")(torch.randn(6, 5), EDGES).shape == (
        6,
        3 * 8,
    )
    assert small("links=0,1,2,3 ops=gcn,gcn,gcn,gcn").get_submodule("cell")(torch.randn(6, 5), EDGES).shape == (6, 8)


def test_a_few_steps_of_descent_reduce_the_loss():
    network = small("links=0,1,1,2 ops=sage,gat,gin,arma", dropout=0.0)
    labels = torch.arange(6) % 2
    x, losses = torch.randn(6, 5) + 2 * labels[:, None], []
    optimiser = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    for _ in range(20):
        loss = cross_entropy(network(x, EDGES), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
