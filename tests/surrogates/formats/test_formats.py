import bz2
import pickle
import zipfile

import pytest

from surrogates.errors import InputError
from surrogates.formats import recognise


def test_a_path_that_does_not_exist_is_an_error_that_lists_what_is_understood(tmp_path):
    with pytest.raises(InputError, match=r"no file or folder .*nothing.*NAS-Bench-201.*NATS.*TransNAS.*Parquet"):
        recognise(tmp_path / "nothing")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}.",
        b"anything at all\n1,2,3\n",
        b"BZ",
        bz2.compress(b"anything"),
        bz2.compress(pickle.dumps({"other": 1})),
    ],
)
def test_other_content_is_an_error_whatever_its_name_says(tmp_path, content):
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"096897\.pth holds nothing that is understood; .*NATS.*TransNAS.*Parquet"):
        recognise(path)


def test_the_file_of_a_network_that_torch_saved_is_not_understood(tmp_path):
    import torch

    for zipped in (True, False):
        torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(InputError, match="nothing that is understood"):
            recognise(tmp_path / "net.pth")


def test_a_folder_without_the_list_of_nats_bench_is_not_understood(tmp_path):
    (tmp_path / "000000.pickle.pbz2").write_bytes(b"")
    with pytest.raises(InputError, match="nothing that is understood"):
        recognise(tmp_path)


def test_another_archive_is_one_clear_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(InputError, match=r"some\.zip"):
        recognise(tmp_path / "some.zip")


def test_a_compressed_member_is_refused_since_torch_compresses_none(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    with pytest.raises(InputError, match=r"bomb\.pth.*as torch\.save writes it"):
        recognise(tmp_path / "bomb.pth")
