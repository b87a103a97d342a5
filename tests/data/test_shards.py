import json
import resource

import pytest

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.data.shards import Shards, source_names


@pytest.fixture
def corpus(jsonl_folder, tmp_path, byte_tokenizer):
    source = {"kind": "jsonl", "path": str(jsonl_folder(3, 20))}
    settings = {"sources": {"tales": source}, "validation_fraction": 0.2, "workers": 1}
    prepare_corpus(
        DataSettings.model_validate(settings), byte_tokenizer, tmp_path / "out", SilentUi()
    )
    return tmp_path / "out"


def test_documents_and_pieces(make_shards):
    shards = make_shards([[[1, 2, 0], [0]], [], [[3, 0], [4, 5, 6, 0]]])
    found = [shards.document(n).tolist() for n in range(shards.num_documents)]
    assert found == [[1, 2, 0], [0], [3, 0], [4, 5, 6, 0]]
    assert shards.lengths.tolist() == [3, 1, 2, 4]
    assert shards.piece(3, 1, 3).tolist() == [5, 6]
    assert (shards.num_documents, shards.num_tokens, shards.num_bytes) == (4, 10, 20)


def test_sources_are_listed(corpus):
    assert source_names(corpus) == ["tales"]


@pytest.mark.parametrize("suffix", [".ids", ".offsets", ".bytes"])
def test_a_flipped_bit_is_never_read(corpus, suffix):
    path = corpus / "tales" / "train" / f"00001{suffix}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    shards = Shards.open(corpus, "tales", "train")
    shards.shard(0).ids, shards.shard(0).starts, shards.shard(0).document_bytes
    with pytest.raises(YxanulError, match=rf"00001\{suffix} is damaged.*checksum.*prepare"):
        shards.shard(1).ids, shards.shard(1).starts, shards.shard(1).document_bytes


@pytest.mark.parametrize("suffix", [".ids", ".offsets", ".bytes"])
def test_a_file_of_the_wrong_size_is_refused_at_once(corpus, suffix):
    path = corpus / "tales" / "train" / f"00000{suffix}"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(YxanulError, match=r"is damaged; got .* bytes; expected .* bytes"):
        Shards.open(corpus, "tales", "train")
    path.unlink()
    with pytest.raises(YxanulError, match="is missing"):
        Shards.open(corpus, "tales", "train")


def test_a_source_that_is_not_there(corpus):
    with pytest.raises(YxanulError, match=r"'poems' .*yxanul prepare"):
        Shards.open(corpus, "poems", "train")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda m: m["header"].update(schema_version=99), "another version"),
        (lambda m: m.pop("splits"), "is damaged; got splits"),
    ],
)
def test_a_foreign_manifest(corpus, change, words):
    path = corpus / "tales" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(YxanulError, match=words):
        Shards.open(corpus, "tales", "train")


@pytest.fixture
def few_open_files():
    """Let this process open few files, as some systems do; more only if it asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_shards_open_where_few_files_may(make_shards, few_open_files):
    shards = make_shards([[[n % 900 + 1, 0]] for n in range(1000)])
    assert shards.document(700).tolist() == [701, 0]
    Shards(shards.folder, shards.manifest, "train")
