"""Damaged files of every format that is read: the right rows or an error of the project, of one
line, in little time and memory; and never other rows where there are checksums.

CI tries a few mutations of each in this process, `nox -s exhaustive` a thousand in one of its own.
"""

import multiprocessing

import pytest

from mutations import CORPORA, MAX_SECONDS, Corpus, Outcome, Place
from sampling import EXHAUSTIVE

COUNT, CI_COUNT = 1000, 20


@pytest.mark.parametrize("name", CORPORA)
def test_damaged_files(name, tmp_path):
    if EXHAUSTIVE:
        outcomes = try_all(name, tmp_path)
    else:
        place = Place(name, tmp_path)
        outcomes = [place.try_mutation(number) for number in range(CI_COUNT)]
    kinds = [outcome.what for outcome in outcomes]
    print(name, {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)})
    allowed = allowed_kinds(CORPORA[name])
    wrong = [outcome for outcome in outcomes if outcome.what not in allowed]
    assert not wrong, "\n".join(map(repr, wrong))


def allowed_kinds(corpus: Corpus):
    return {"right", "error"} if corpus.is_checked else {"right", "error", "other rows"}


def try_all(name, folder):
    """The outcomes of COUNT mutations."""
    outcomes = []
    while len(outcomes) < COUNT:
        outcomes += try_some(name, folder / str(len(outcomes)), range(len(outcomes), COUNT))
    return outcomes


def try_some(name, folder, numbers):
    """The outcomes of mutations in another process, until it crashes or takes too long."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=try_each, args=(name, folder, numbers, theirs), daemon=True)
    process.start()
    theirs.close()  # so that its end is an EOFError here
    assert ours.recv() == "ready"
    for number in numbers:
        try:
            what = f"over {MAX_SECONDS} s"
            if ours.poll(MAX_SECONDS + 5):
                yield ours.recv()
                continue
        except EOFError:
            process.join()
            what = f"crash {process.exitcode}"
        process.kill()
        yield Outcome(number, what, MAX_SECONDS, 0, "")
        return
    process.join()


def try_each(name, folder, numbers, pipe):
    place = Place(name, folder)
    pipe.send("ready")
    for number in numbers:
        pipe.send(place.try_mutation(number))
