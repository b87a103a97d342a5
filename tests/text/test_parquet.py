import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.config import ParquetSettings
from yxanul.text.documents import Document, Dropped
from yxanul.text.sources import open_source


@pytest.fixture
def write(tmp_path):
    """A function that writes a parquet file of some columns."""

    def write_file(name="a.parquet", rows_a_group=100, **columns):
        pq.write_table(pa.table(columns), tmp_path / name, row_group_size=rows_a_group)
        return tmp_path / name

    return write_file


def texts(count, start=0):
    return [f"text {n}" for n in range(start, start + count)]


def test_rows_become_documents(write, read):
    path = write(text=texts(250), score=list(range(250)))
    result = read(ParquetSettings(path=str(path)))
    assert result.texts == texts(250)
    assert [document.id for document in result.documents] == [f"a.parquet#{n}" for n in range(250)]
    assert "'text'" in result.notes[0]


def test_large_files_make_several_parts(write, read, monkeypatch):
    monkeypatch.setattr("yxanul.text.sources.parquet.PART_BYTES", 3000)
    path = write(text=[f"{n} " + "x" * 7 for n in range(1000)], noise=list(range(1000)))
    result = read(ParquetSettings(path=str(path)))
    assert len(result.parts) > 3
    assert [document.id for document in result.documents] == [f"a.parquet#{n}" for n in range(1000)]
    limited = read(ParquetSettings(path=str(path), limit=555))
    assert limited.items == result.items[:555]
    assert 1 < len(limited.parts) < len(result.parts)


def test_templates_ids_and_chats(write, read):
    chat = [[{"role": "user", "content": f"hi {n}"}] for n in range(3)]
    path = write(q=texts(3), a=[1, 2, 3], key=["x", "y", None], messages=chat)
    result = read(ParquetSettings(path=str(path), template="{q} = {a}", id_column="key"))
    assert result.texts == ["text 0 = 1", "text 1 = 2", "text 2 = 3"]
    assert [document.id for document in result.documents] == ["x", "y", "a.parquet#2"]
    result = read(ParquetSettings(path=str(path), text_column="messages"))
    assert result.texts == ["user: hi 0", "user: hi 1", "user: hi 2"]


def test_nulls_and_broken_text_cost_one_document_each(tmp_path, read):
    raw = pa.array([b"one", b"t\xffwo", None, b"three", b""])
    broken = pa.StringArray.from_buffers(5, *raw.buffers()[1:], raw.buffers()[0], 1)
    for name, column in (("a.parquet", raw), ("b.parquet", broken)):
        pq.write_table(pa.table({"text": column}), tmp_path / name)
        result = read(ParquetSettings(path=str(tmp_path / name), text_column="text"))
        assert result.texts == ["one", "three", ""]
        assert result.dropped == {"broken_utf8": 1, "missing_column": 1}


def test_a_cut_file_is_counted_and_the_others_are_read(write, read, tmp_path):
    write("a.parquet", text=texts(50))
    cut = write("b.parquet", text=texts(50))
    cut.write_bytes(cut.read_bytes()[:-20])
    (tmp_path / "c.parquet").write_text("no parquet at all")
    result = read(ParquetSettings(path=str(tmp_path)))
    assert result.texts == texts(50)
    assert [i for i in result.items if isinstance(i, Dropped)] == [
        Dropped("truncated", "b.parquet"),
        Dropped("corrupt", "c.parquet"),
    ]


def test_a_damaged_row_group_costs_its_rows(write, read):
    path = write(rows_a_group=50, text=texts(150))
    where = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = where.dictionary_page_offset or where.data_page_offset
    data[start : start + where.total_compressed_size] = b"\xff" * where.total_compressed_size
    path.write_bytes(data)
    result = read(ParquetSettings(path=str(path)))
    assert result.texts == texts(50) + texts(50, start=100)
    assert result.dropped == {"corrupt": 1}


def test_a_file_of_which_no_row_can_be_read_is_damaged(write, read):
    path = write(text=texts(50))
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\xff" * 60 + data[64:])
    with pytest.raises(YxanulError, match="damaged"):
        read(ParquetSettings(path=str(path)))


def test_a_file_without_the_column_is_counted(write, read, tmp_path):
    write("a.parquet", text=texts(5))
    write("b.parquet", words=texts(5))
    result = read(ParquetSettings(path=str(tmp_path)))
    assert result.texts == texts(5)
    assert result.items[-1] == Dropped("missing_column", "b.parquet")


def test_a_first_file_that_is_about_the_others(write, read, tmp_path):
    write("a.parquet", total=[3], description=["about " * 1000])
    for name in "bcd":
        write(f"{name}.parquet", text=texts(20), score=[n / 2 for n in range(19)] + [None])
    write("e.parquet", text=["without a score"])
    filters = ({"kind": "score", "column": "score", "at_least": 3},)
    settings = ParquetSettings(path=str(tmp_path), filters=filters, id_column="total")
    result = read(settings)
    assert result.items[0] == Dropped("missing_column", "a.parquet")
    assert result.dropped == {"missing_column": 1}
    assert len(result.texts) == 61
    assert result.documents[18].scores == {"score": 9.0}
    assert result.documents[19].scores == result.documents[-1].scores == {}
    for limit in (1, 30):
        limited = read(settings.model_copy(update={"limit": limit}))
        assert limited.items == result.items[:limit]
    with pytest.raises(YxanulError, match=r"'txt'.*'text'\?"):
        read(ParquetSettings(path=str(tmp_path), text_column="txt"))


def test_dictionaries_and_large_strings_are_text(write, read):
    column = pa.array(texts(9) * 2).dictionary_encode()
    assert read(ParquetSettings(path=str(write(body=column, n=[1] * 18)))).texts == texts(9) * 2
    column = pa.array(texts(9), pa.large_string())
    assert read(ParquetSettings(path=str(write(body=column)))).texts == texts(9)


def test_views_are_text(write, read):
    """Polars and other writers of newer Arrow types store them in the schema."""
    both = {"text": pa.string_view(), "bytes": pa.binary_view()}
    path = write(**{name: pa.array(texts(9), kind) for name, kind in both.items()})
    for name in both:
        assert read(ParquetSettings(path=str(path), text_column=name)).texts == texts(9)
    assert read(ParquetSettings(path=str(path))).texts == texts(9)


def test_errors_name_what_is_wrong(write, tmp_path):
    path = write(text=texts(5), url=texts(5))
    with pytest.raises(YxanulError, match=r"'tetx'; got text, url; .*'text'"):
        open_source("mine", ParquetSettings(path=str(path), text_column="tetx")).slices()
    with pytest.raises(YxanulError, match="no file matches"):
        open_source("mine", ParquetSettings(path=str(tmp_path / "*.pq"))).slices()
    write(text=pa.array([], pa.string()))
    with pytest.raises(YxanulError, match="no row"):
        open_source("mine", ParquetSettings(path=str(path))).slices()


def test_only_a_few_rows_are_held(tmp_path):
    path = tmp_path / "a.parquet"
    schema = pa.schema({"text": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for group in range(2):
            rows = [f"{group} {n} " + "x" * 1000 for n in range(40_000)]
            writer.write_table(pa.table({"text": rows}))
    source = open_source("mine", ParquetSettings(path=str(path)))
    before = pa.total_allocated_bytes()
    count, peak = 0, 0
    for part in source.slices():
        for item in source.read(part):
            count += isinstance(item, Document)
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert count == 80_000
    assert peak < 10_000_000


def test_documents_of_the_shared_data(shared_data, read):
    path = shared_data / "web" / "fineweb_edu_150_scored.parquet"
    result = read(ParquetSettings(path=str(path)))
    assert result.texts == pq.read_table(path)["text"].to_pylist()
    assert len(result.texts) == 150
    filters = ({"kind": "score", "column": "score", "at_least": 3},)
    scored = read(ParquetSettings(path=str(path), filters=filters))
    assert scored.texts == result.texts
    assert [d.scores["score"] for d in scored.documents] == pq.read_table(path)["score"].to_pylist()
