import gzip
import itertools
import json

from yxanul.base.ui import SilentUi
from yxanul.data.config import DataSettings
from yxanul.data.texts import texts_of_path, training_texts
from yxanul.text.split import is_held_out


def settings_for(folder, **more):
    sources = {"tales": {"kind": "jsonl", "path": str(folder)}} | more
    return DataSettings.model_validate({"sources": sources, "validation_fraction": 0.3})


def test_all_training_texts_and_no_held_out_one(jsonl_folder):
    folder = jsonl_folder(3, 30)
    lines = [line for path in folder.glob("*") for line in path.read_text().splitlines()]
    texts = [json.loads(line)["text"] for line in lines]
    wanted = [text for text in texts if not is_held_out(text, 0.3)]
    assert 0 < len(wanted) < len(texts)
    assert sorted(training_texts(settings_for(folder))) == sorted(wanted)


def test_every_source_has_its_part_of_the_beginning(jsonl_folder, tmp_path):
    folder = jsonl_folder(2, 30)
    long = tmp_path / "long.jsonl"
    long.write_text("\n".join(json.dumps({"text": f"{n} " + "long " * 500}) for n in range(40)))
    settings = settings_for(folder, long={"kind": "jsonl", "path": str(long)})
    beginning = list(itertools.islice(training_texts(settings), 20))
    size = {True: 0, False: 0}
    for text in beginning:
        size["long long" in text] += len(text)
    assert 0.5 < size[True] / size[False] < 2


def test_a_packed_file_is_the_documents_of_the_file(tmp_path):
    for text, num_documents in (("one two\n<|endoftext|>\nthree", 2), ("one\n\ntwo", 1)):
        (tmp_path / "a.txt").write_text(text)
        (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
        plain, packed = (
            list(texts_of_path(str(tmp_path / name), SilentUi())) for name in ("a.txt", "a.txt.gz")
        )
        assert plain == packed and len(plain) == num_documents
