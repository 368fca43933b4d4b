import os
import re
import subprocess
import sys
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis import figures
from analysis.figures import Curve, HeatMap, Look, Panel, Reliability, Row, Small, Trace
from analysis.statistics import Band, Estimate

SVG = "{http://www.w3.org/2000/svg}"


def kinds(*rows):
    return pd.DataFrame(rows, columns=["label", "method", "model"]).assign(method_parameters="{}")


RUNS = kinds(
    ("random_search", "random_search", None),
    ("genius (a)", "genius", "a"),
    ("genius (b)", "genius", "b"),
    ("genius_blind (a)", "genius_blind", "a"),
)
LOOK = figures.looks(RUNS)


def panel(title="task", values=(1.0, 0.5, 0.0)):
    x, y = np.arange(1.0, len(values) + 1), np.array(values)
    return Panel(title, "evaluations", "regret", [Curve("genius (a)", x, Band(y, y / 2, y * 2, 5))])


def drawn():
    estimate = Estimate(0.6, 0.5, 0.7, 10)
    p = pd.DataFrame(np.ones((4, 4)), index=list(LOOK), columns=list(LOOK))
    return {
        "anytime": figures.anytime([panel(), panel("<b> & co"), panel("third")], LOOK),
        "critical_difference": figures.critical_difference(dict(zip(LOOK, (1.5, 2, 2.5, 4), strict=True)), p, LOOK),
        "estimates": figures.estimates(
            [Row("a < b", [("one", "#0072B2", estimate), ("two", "#0072B2", estimate)])], "x"
        ),
        "reliability": figures.reliability(
            [Reliability("t", [1.0, 0.1], [estimate, estimate], {"closed form": [0.9, np.nan]})]
        ),
    }


def test_a_method_has_one_colour_and_a_model_one_line():
    assert LOOK["genius (a)"].colour == LOOK["genius (b)"].colour != LOOK["genius_blind (a)"].colour
    assert LOOK["genius (a)"].line == LOOK["genius_blind (a)"].line != LOOK["genius (b)"].line
    assert len(set(LOOK.values())) == 4


def test_one_method_with_other_parameters_has_another_colour():
    two = kinds(("a", "a", None), ("a x=1", "a", None)).assign(method_parameters=["{}", '{"x": 1}'])
    assert len({look.colour for look in figures.looks(two).values()}) == 2


def test_many_methods_still_look_different():
    many = kinds(*((f"m{i}", f"m{i}", None) for i in range(20)))
    assert len(set(figures.looks(many).values())) == 20


@pytest.mark.parametrize("name", ["anytime", "critical_difference", "estimates", "reliability"])
def test_a_figure_becomes_an_element_of_a_page(name):
    text = figures.svg(drawn()[name], "fig", 'what "it" <shows>')
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.attrib["aria-label"] == 'what "it" <shows>'
    assert root.attrib["role"] == "img"
    assert "width" not in root.attrib
    assert "viewBox" in root.attrib
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    assert all(i.startswith("fig-") for i in ids)
    used = re.findall(r'(?:url\(|href=")#([^)"]+)', text)
    assert set(used) <= set(ids)
    assert figures.INK not in text
    assert not re.search(r'href="http|<image|<!DOCTYPE|<\?xml', text)


DIAGRAM = """
import pandas as pd
from analysis import figures

names = [f"method {i}" for i in range(9)]
p = pd.DataFrame(1.0, index=names, columns=names)
look = {name: figures.Look("#000000", "-") for name in names}
print(figures.svg(figures.critical_difference(dict(zip(names, range(9))), p, look), "x", "alt"))
"""


def test_every_process_draws_the_same_diagram():
    drawn_by = [
        subprocess.run(
            [sys.executable, "-c", DIAGRAM], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert drawn_by[0] == drawn_by[1]
    assert b"method 8 (8.00)" in drawn_by[0]


def test_the_text_of_a_figure_is_text():
    text = figures.svg(figures.anytime([panel("<b> & co")], LOOK), "x", "alt")
    assert "<b> & co" in [element.text for element in ElementTree.fromstring(text).iter(f"{SVG}text")]


@pytest.mark.parametrize("values", [(1.0, 0.001), (0.045, 0.03), (2.0, 2.0), (30.0, 9.0)])
def test_a_logarithmic_axis_has_plain_labels_however_short_it_is(values):
    text = figures.svg(figures.anytime([panel(values=values)], LOOK, legend=False), "x", "alt")
    written = [element.text or "" for element in ElementTree.fromstring(text).iter(f"{SVG}text")]
    numbers = [float(word) for word in written if re.fullmatch(r"[\d.]+", word)]
    assert sum(min(values) / 1.6 <= number <= max(values) * 1.3 for number in numbers) >= 2


@pytest.mark.parametrize("x", [(1, 50), (6_500, 9_990), (6_600, 13_800), (800_000, 1_450_000)])
def test_numbers_on_the_axis_of_what_was_spent_do_not_touch(x):
    curve = Curve("genius (a)", np.array(x), Band(np.array([1.0, 0.5]), np.array([1.0, 0.5]), np.array([1.0, 0.5]), 5))
    figure = figures.anytime([Panel("task", "tokens", "regret", [curve])], LOOK)
    FigureCanvasAgg(figure)
    with rc_context(figures.STYLE):
        shown = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    digit = 6  # pixels, about
    assert len(shown) > 2
    assert all(right.x0 - left.x1 > digit for left, right in pairwise(shown))


@pytest.mark.parametrize("decades", [0.5, 1, 2, 3, 4, 7, 12])
def test_numbers_on_the_axis_of_regret_do_not_touch(decades):
    figure = figures.anytime([panel(values=(1.0, 10.0**-decades))], LOOK)
    FigureCanvasAgg(figure)
    with rc_context(figures.STYLE):
        (low, high), labels = figure.axes[0].get_ylim(), figure.axes[0].get_yticklabels()
        inside = [label for label in labels if low <= label.get_position()[1] <= high]
        shown = sorted(label.get_window_extent().y0 for label in inside)
    assert len(shown) >= 2
    assert min(np.diff(shown)) > figures.STYLE["font.size"] * 100 / 72  # pixels of a line


@pytest.mark.parametrize(("longer", "scale"), [(100, "linear"), (500, "log")])
def test_short_lines_are_seen_beside_long_ones(longer, scale):
    curves = [panel(values=np.ones(n)).curves[0] for n in (20, longer)]
    figure = figures.anytime([Panel("task", "evaluations", "regret", curves)], LOOK)
    assert figure.axes[0].get_xscale() == scale


def test_a_regret_of_zero_and_a_curve_of_nothing_are_drawn():
    figures.svg(figures.anytime([panel(values=(1.0, 0.0)), panel(values=(np.inf, np.inf))], LOOK), "x", "alt")
    figures.svg(figures.anytime([panel(values=(0.0, 0.0))], LOOK), "x", "alt")


def test_the_same_figure_gives_the_same_files(tmp_path):
    for folder in ("a", "b"):
        figures.save(drawn()["anytime"], tmp_path / folder, "regret")
    for name in ("regret.svg", "regret.pdf"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "regret.pdf").read_bytes().startswith(b"%PDF")


def test_drawing_leaves_matplotlibs_settings_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn()
    assert dict(matplotlib.rcParams) == before


def test_a_legends_line_is_that_of_the_figure():
    key = ElementTree.fromstring(figures.key(LOOK["genius (b)"]))
    (line,) = list(key)
    assert line.attrib["stroke"] == LOOK["genius (b)"].colour
    assert line.attrib["stroke-dasharray"]


def words(figure):
    root = ElementTree.fromstring(figures.svg(figure, "x", "alt"))
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_heat_map_writes_its_numbers_and_leaves_unknown_cells_empty():
    found = words(figures.heat_map(HeatMap(["a", "b"], ["c", "d"], np.array([[1, np.nan], [-0.25, 0.5]]))))
    assert {"a", "b", "c", "d", "1.00", "−.25", ".50"} <= set(found)
    assert len(found) == 7


def test_estimates_below_zero_are_inside_their_axes():
    row = Row("a", [("all", "#0072B2", Estimate(-0.3, -0.4, -0.2, 9))])
    assert figures.estimates([row], "x").axes[0].get_xlim()[0] < -0.4
    assert figures.estimates([], "x").axes[0].get_xlim()[0] == pytest.approx(-0.02)


@pytest.mark.parametrize("panels", [1, 2, 4])
def test_small_multiples_have_a_title_each_and_one_legend(panels):
    traces = [
        Trace("validation", [0.01, 1, 10], [0.1, 0.5, 1], [0.1, 0.4, 1], [0.1, 0.6, 1]),
        Trace("test", [1], [0.5], line=False),
    ]
    look = {"validation": Look("#0072B2", "-"), "test": Look("#D55E00", "--")}
    drawn = [Small(f"task {i}", "x", "y", traces) for i in range(panels)]
    found = words(figures.small_multiples(drawn, look, log=True))
    assert [word for word in found if word.startswith("task")] == [f"task {i}" for i in range(panels)]
    assert found.count("validation") == found.count("test") == 1
    assert "validation" not in words(figures.small_multiples(drawn, look, legend=False))
