"""`TarReader` finds what tarfile of the standard library finds."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiview_cifar_tools.storage.tar import TarReader

KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "other",
    tarfile.FIFOTYPE: "other",
}
NAMES = st.text("ab/é.", min_size=1, max_size=8) | st.text("ab/", min_size=90, max_size=120)


SIZES, TIMES = st.integers(0, 1500), st.sampled_from([0, 1.5])
MEMBERS = st.tuples(NAMES, st.sampled_from(list(KINDS)), SIZES, TIMES)


def make_tar(members, form):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, kind, size, time in members:
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind, time  # pax notes a half second before the header
            if info.isreg():
                info.size = size
            archive.addfile(info, io.BytesIO(b"x" * size))
    return file.getvalue()


@pytest.mark.parametrize("is_seekable", [True, False])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(members=st.lists(MEMBERS, max_size=5))
def test_the_members_are_those_of_tarfile(is_seekable, form, members):
    data = make_tar(members, form)
    reader = TarReader(io.BytesIO(data), is_seekable)
    found = [(m.name, m.kind, m.size, reader.read() if m.kind == "file" else b"") for m in reader]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [
            (info.name, KINDS[info.type], info.size, read(archive, info)) for info in archive
        ]
    assert found == expected


def read(archive, info):
    return archive.extractfile(info).read() if info.isreg() else b""


def test_a_folder_with_a_size_has_no_contents():
    """As some old tools write; tarfile ignores the size too."""
    folder, after = tarfile.TarInfo("cat"), tarfile.TarInfo("cat/a.png")
    folder.type, folder.size = tarfile.DIRTYPE, 4096
    data = folder.tobuf() + after.tobuf() + bytes(2 * tarfile.BLOCKSIZE)
    assert [member.name for member in TarReader(io.BytesIO(data), True)] == ["cat", "cat/a.png"]
