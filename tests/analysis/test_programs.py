import subprocess
import sys

import numpy as np
import pytest

from analysis import programs
from analysis.programs import Program, compiles, corrupt, source_files, sources
from surrogates.errors import InputError


def test_without_model_files_the_error_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path))
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="nascent llm setup"):
        source_files()


def test_model_files_are_found_in_the_folder_of_the_language_models(monkeypatch, tmp_path, block):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path))
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda name: None)
    folder = tmp_path / "vllm/lib/python3.11/site-packages/transformers/models/llama"
    folder.mkdir(parents=True)
    (folder / "modeling_llama.py").write_text(block)
    (folder / "configuration_llama.py").write_text("x = 1\n")
    assert [path.name for path in source_files()] == ["modeling_llama.py"]
    assert [p.text for p in sources(np.random.default_rng(0), 5)] == [block]


def test_real_programs_compile_and_differ(pool):
    assert len({p.text for p in pool}) == len(pool)
    assert all(50 <= len(p.spans) <= 2000 and compiles(p.text) for p in pool)


def test_no_text_is_executed(tmp_path):
    trap = tmp_path / "executed"
    assert compiles(f"open({str(trap)!r}, 'w').close()\nraise SystemExit\n")
    assert not trap.exists()


@pytest.mark.parametrize("text", ["def f(:\n", "\0", "(" * 500 + ")" * 500, "return 1\n", "x = 08\n"])
def test_broken_texts_do_not_compile(text):
    assert not compiles(text)


def test_tokens_are_those_of_the_text_without_comments_and_layout():
    assert Program.read("x = [1, 'a b']  # note\n\n").tokens() == ["x", "=", "[", "1", ",", "'a b'", "]"]
    assert Program.read("ä = 'é'; b").tokens() == ["ä", "=", "'é'", ";", "b"]


def test_a_text_that_is_not_python_is_refused():
    with pytest.raises(InputError, match="is not Python"):
        Program.read("x = (\n")


def test_only_wrong_tokens_are_touched(block):
    program, rng = Program.read(block), np.random.default_rng(0)
    assert corrupt(program, np.zeros(len(program.spans), dtype=bool), rng) == block
    for place in range(len(program.spans)):
        wrong = np.arange(len(program.spans)) == place
        text = corrupt(program, wrong, rng)
        start, stop = program.spans[place]
        assert text != block
        assert text.startswith(block[:start])
        assert text.endswith(block[stop:])


def test_core_import_needs_no_torch():
    code = "import sys, analysis.programs; sys.exit('torch' in sys.modules or 'vllm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
