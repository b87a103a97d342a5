import json
import shutil

import numpy as np
import pytest

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.data.inspect import LAST_POSITION, open_encoded, source_folders, stream_rows
from yxanul.data.order import TokenStream
from yxanul.data.shards import Shards


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, write_stories, byte_tokenizer):
    """Three files of twenty stories, and one that is empty."""
    folder = tmp_path_factory.mktemp("inspect")
    texts = write_stories(folder / "texts", 3, 20)
    (texts / "09.jsonl").write_text('{"text": " "}\n{"text": ""}\n')
    source = {"kind": "jsonl", "path": str(texts), "on_problem": "drop"}
    settings = {"sources": {"tales": source}, "validation_fraction": 0.2, "workers": 1}
    prepare_corpus(
        DataSettings.model_validate(settings), byte_tokenizer, folder / "out", SilentUi()
    )
    return folder / "out"


@pytest.fixture
def unfinished(corpus, tmp_path):
    """The same, of which one part is not encoded yet."""
    shutil.copytree(corpus, tmp_path / "out")
    tales = tmp_path / "out" / "tales"
    for name in ("manifest.json", "held-out.txt", "dropped.jsonl", "parts/00001.json"):
        (tales / name).unlink()
    return tales


def test_sources_are_found_from_both_folders(corpus):
    assert source_folders(corpus) == {"tales": corpus / "tales"}
    assert source_folders(corpus / "tales") == {"tales": corpus / "tales"}
    with pytest.raises(YxanulError, match="no shards"):
        source_folders(corpus / "tales" / "train")
    with pytest.raises(YxanulError, match=r"not found; got a file"):
        source_folders(corpus / "tales" / "manifest.json")
    with pytest.raises(YxanulError, match=r"folder .* not found"):
        source_folders(corpus / "poems")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_document_by_its_number(corpus, split):
    encoded, shards = open_encoded(corpus / "tales"), Shards.open(corpus, "tales", split)
    for number in range(shards.num_documents):
        one = encoded.document(split, number)
        assert one.ids.tolist() == shards.document(number).tolist()
        assert one.num_bytes == shards.document_bytes[number] == len(one.ids) - 1
    with pytest.raises(YxanulError, match=rf"expected 0 to {shards.num_documents - 1}$"):
        encoded.document(split, shards.num_documents)
    with pytest.raises(YxanulError, match="no document -1"):
        encoded.document(split, -1)


def test_what_was_left_out(corpus):
    samples = open_encoded(corpus / "tales").dropped()
    assert [sample.cause for sample in samples] == ["empty", "empty"]
    assert "09.jsonl" in samples[0].where


def test_a_source_that_is_not_encoded_to_its_end(corpus, unfinished):
    whole, some = open_encoded(corpus / "tales"), open_encoded(unfinished)
    assert (whole.complete, whole.parts_done, whole.num_parts) == (True, 4, 4)
    assert (some.complete, some.parts_done, some.num_parts) == (False, 3, 4)
    lost = whole.manifest.splits["train"].shards[1].documents
    documents = whole.manifest.splits["train"].documents
    assert some.manifest.splits["train"].documents == documents - lost
    first = whole.manifest.splits["train"].shards[0].documents
    after = some.document("train", first)
    assert (after.part, after.ids.tolist()) == (
        2,
        whole.document("train", first + lost).ids.tolist(),
    )
    assert len(some.dropped()) == 2


def test_the_stream_of_an_unfinished_source_goes_as_far_as_its_parts(corpus, unfinished):
    """It is that of the finished one, up to the part that is missing."""
    whole, some = open_encoded(corpus / "tales"), open_encoded(unfinished)
    seed = next(s for s in range(99) if whole.order(s, 1).read(0, 1)[0] and first_part(s) != 1)
    here = stream_rows(some.order(seed, 1), "tales", 0, 50, 2)
    assert here == stream_rows(whole.order(seed, 1), "tales", 0, 50, 2)
    with pytest.raises(YxanulError, match=r"'tales' .*yxanul prepare"):
        stream_rows(some.order(seed, 1), "tales", 10**6, 50, 1)


def first_part(seed):
    from yxanul.data.order import first_order

    return int(first_order(4, seed, "tales")[0])


@pytest.mark.parametrize("group_tokens", [1, 5000, 1 << 25])
def test_rows_are_the_stream_cut_where_documents_end(corpus, group_tokens):
    encoded = open_encoded(corpus / "tales")
    tokens = encoded.manifest.splits["train"].tokens
    position, seq_len, count = tokens - 3000, 700, 9
    rows = stream_rows(encoded.order(5, group_tokens), "tales", position, seq_len, count)
    shards = Shards.open(corpus, "tales", "train")
    ids, documents = TokenStream(shards, 5, group_tokens).read(position, seq_len * count + 1)
    end = shards.end_of_text_id
    for number, row in enumerate(rows):
        here = slice(number * seq_len, (number + 1) * seq_len)
        assert row.row.start == position + number * seq_len
        assert [i for span in row.spans for i in span.ids] == ids[here].tolist()
        assert row.target == ids[here.stop]
        assert [span.start for span in row.spans] == [
            0,
            *(np.flatnonzero(np.diff(documents[here])) + 1),
        ]
        assert all(span.ids.index(end) == len(span.ids) - 1 for span in row.spans[:-1])
        assert all(span.begins for span in row.spans[1:])
        before = TokenStream(shards, 5, group_tokens).read(row.row.start - 1, 1)[0]
        assert row.spans[0].begins == (before == end)
    assert sum(len(row.spans) > 1 for row in rows) > 3


def test_the_first_row_begins_a_document(corpus):
    (row,) = stream_rows(open_encoded(corpus / "tales").order(0), "tales", 0, 5, 1)
    assert row.spans[0].begins


@pytest.mark.parametrize("position, seq_len, count", [(-1, 5, 1), (LAST_POSITION, 5, 1)])
def test_positions_that_are_none(corpus, position, seq_len, count):
    order = open_encoded(corpus / "tales").order(0)
    with pytest.raises(YxanulError, match=f"got {position}; expected 0 to"):
        stream_rows(order, "tales", position, seq_len, count)


def test_damaged_samples_are_one_line(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "out")
    path = tmp_path / "out" / "tales" / "dropped.jsonl"
    path.write_text(json.dumps({"cause": "empty"}) + "\n")
    with pytest.raises(YxanulError, match=r"dropped\.jsonl is damaged") as raised:
        open_encoded(path.parent).dropped()
    assert "\n" not in str(raised.value)
