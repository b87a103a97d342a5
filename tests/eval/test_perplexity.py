import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.data.batches import Batch, BatchLoader, WindowShape, validation_batches
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.data.mix import MixCursor, plan_rows
from yxanul.data.order import TokenStream
from yxanul.data.shards import Shards
from yxanul.eval.domains import score_each_document
from yxanul.eval.perplexity import (
    open_held_out,
    read_documents,
    score_batches,
    score_domains,
    score_shards,
    window_shape,
)
from yxanul.eval.score import Score
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import ByteSettings

SEQ_LEN = 64


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(ByteSettings(), lambda: [], SilentUi())


@pytest.fixture(scope="module")
def corpus(tokenizer, tmp_path_factory):
    """Some 30 held-out problems of 100 to 300 bytes."""
    folder = tmp_path_factory.mktemp("data")
    source = {"kind": "builtin", "domain": "math", "documents": 120}
    plain = {"sources": {"math": source}, "validation_fraction": 0.25, "workers": 1}
    prepare_corpus(DataSettings.model_validate(plain), tokenizer, folder, SilentUi())
    return folder


@pytest.fixture(scope="module")
def shards(corpus, tokenizer):
    return Shards.open(corpus, "math", "validation", tokenizer.digest)


@pytest.fixture(scope="module")
def model(tokenizer):
    return make_model(tokenizer.vocab_size)


def make_model(vocab_size, **fields):
    shape = {"width": 32, "depth": 2, "num_heads": 2, "max_seq_len": SEQ_LEN, "init_std": 0.2}
    model = LanguageModel(ModelSettings(**{**shape, **fields}, vocab_size=vocab_size))
    model.init_weights(torch.Generator().manual_seed(3))
    return model


def nats_by_hand(model, document, end, seq_len, stride):
    """Score a document token by token as documented: an end of text, then the text; a window
    that is full moves on by `stride`, and only its last `stride` tokens are new."""
    ids = [end, *document]
    losses, done = [], 0
    while done < len(document):
        until = min(len(document), seq_len if done == 0 else done + stride)
        first = max(0, until - seq_len)
        inputs, targets = ids[first:until], ids[first + 1 : until + 1]
        row = model.token_scores(torch.tensor([inputs]), torch.tensor([targets]))[0][0]
        losses += row[done - first :].tolist()
        done = until
    assert len(losses) == len(document)
    return math.fsum(losses)


def test_figures_of_a_score():
    score = Score(loss=math.log(16), tokens=50, bytes=100)
    assert score.perplexity == pytest.approx(16)
    assert score.bits_per_byte == pytest.approx(4 * 50 / 100)
    assert "accuracy" not in score.metrics()  # not measured
    assert set(score.to_dict()) == {"loss", "perplexity", "bits_per_byte", "tokens", "bytes"}


def test_figures_that_are_not_finite_never_raise():
    assert Score(800.0, 1, 1).perplexity == math.inf
    assert Score(math.inf, 1, 1).perplexity == math.inf
    assert math.isnan(Score(math.nan, 1, 1).bits_per_byte)


@pytest.mark.parametrize("stride", [SEQ_LEN, SEQ_LEN // 2, 7])
def test_the_score_is_that_of_every_document_alone(model, shards, stride):
    assert max(shards.lengths) > 2 * SEQ_LEN
    documents = [shards.document(number).tolist() for number in range(shards.num_documents)]
    assert all(document[-1] == shards.end_of_text_id for document in documents)
    end = shards.end_of_text_id
    nats = math.fsum(nats_by_hand(model, doc, end, SEQ_LEN, stride) for doc in documents)
    score = score_shards(model, shards, WindowShape(SEQ_LEN, 8, stride))
    assert score.tokens == shards.num_tokens == sum(map(len, documents))
    assert score.bytes == shards.num_bytes == sum(len(doc) - 1 for doc in documents)
    assert score.loss == pytest.approx(nats / shards.num_tokens, rel=1e-5)
    assert score.bits_per_byte == pytest.approx(nats / math.log(2) / shards.num_bytes, rel=1e-5)


def test_every_token_is_a_target_once(shards):
    batches = list(validation_batches(shards, window_shape(SEQ_LEN)))
    targets = torch.cat([batch.targets_BT.flatten() for batch in batches])
    found = Counter(targets[targets >= 0].tolist())
    documents = [shards.document(number) for number in range(shards.num_documents)]
    assert found == Counter(token for document in documents for token in document.tolist())


@pytest.mark.parametrize(("rows", "pad_to"), [(1, None), (3, None), (3, SEQ_LEN), (100, None)])
def test_rows_and_padding_change_nothing(model, shards, rows, pad_to):
    whole = score_shards(model, shards, WindowShape(SEQ_LEN, 16))
    other = score_shards(model, shards, WindowShape(SEQ_LEN, rows, pad_to=pad_to))
    assert (other.tokens, other.bytes) == (whole.tokens, whole.bytes)
    assert other.loss == pytest.approx(whole.loss, rel=1e-5)


def test_longer_context_is_another_score(model, shards):
    short, long = (score_shards(model, shards, window_shape(t)).loss for t in (8, SEQ_LEN))
    assert abs(short - long) > 1e-3


def test_training_and_evaluation_of_one_batch_are_equal(model, corpus, tokenizer):
    """The same batch gives the same loss on both sides, to the bit."""
    order = TokenStream(Shards.open(corpus, "math", "train", tokenizer.digest), 0)
    rows, _ = plan_rows(MixCursor(), {"math": 1.0}, 4, SEQ_LEN)
    batch = BatchLoader({"math": order}).load(rows, SEQ_LEN)
    batch.targets_BT[1, 20:] = -100
    model.train()
    trained = model.loss(batch.ids_BT, batch.targets_BT, batch.documents_BT)
    assert trained.total.requires_grad
    score = score_batches(model, [batch], 1, 1)
    assert score.tokens == int(trained.count) == batch.num_targets == 4 * SEQ_LEN - (SEQ_LEN - 20)
    assert score.loss == trained.total.item() / score.tokens
    model.eval()
    assert score_batches(model, [batch], 1, 1) == score


def test_validation_windows_are_equal_too_with_document_masking(tokenizer, shards):
    model = make_model(tokenizer.vocab_size, document_masking=True)
    for batch in validation_batches(shards, window_shape(SEQ_LEN)):
        trained = model.loss(batch.ids_BT, batch.targets_BT, batch.documents_BT).total
        score = score_batches(model, [batch], 1, 1)
        assert score.loss * score.tokens == pytest.approx(trained.item(), rel=1e-5)


def test_held_out_text_scores_as_its_shards(model, corpus, shards, tokenizer):
    shape = window_shape(SEQ_LEN)
    path = corpus / "math" / "held-out.txt"
    (file,) = score_each_document(model, tokenizer, {}, [path], shape, SilentUi()).values()
    whole = score_shards(model, shards, shape)
    assert (file.score.tokens, file.score.bytes) == (whole.tokens, whole.bytes)
    assert file.score.loss == pytest.approx(whole.loss, rel=1e-6)


def test_a_model_that_knows_nothing_has_the_log_of_the_vocabulary(tokenizer, shards):
    model = make_model(tokenizer.vocab_size, head="untied")
    with torch.no_grad():
        model.head.zero_()
    score = score_shards(model, shards, window_shape(SEQ_LEN))
    assert score.loss == pytest.approx(math.log(tokenizer.vocab_size), rel=1e-6)
    assert score.perplexity == pytest.approx(tokenizer.vocab_size, rel=1e-5)


def test_a_sample_is_whole_documents_within_its_tokens(model, shards):
    lengths, shape = shards.lengths.tolist(), window_shape(SEQ_LEN)
    drawn = shards.sample(10**9, seed=5)
    assert sorted(drawn) == list(range(len(lengths))) != drawn
    three = sum(lengths[n] for n in drawn[:3])
    for at_most, documents in [(three, 3), (three - 1, 2), (three + 1, 3), (1, 1)]:
        sample = shards.sample(at_most, seed=5)
        assert sample == drawn[:documents]
        score = score_shards(model, shards, shape, sample)
        assert score.tokens == sum(lengths[n] for n in sample)
        assert score.bytes == score.tokens - documents
        chosen = [shards.document(n).tolist() for n in sample]
        stride = SEQ_LEN // 2
        nats = sum(
            nats_by_hand(model, doc, shards.end_of_text_id, SEQ_LEN, stride) for doc in chosen
        )
        assert score.loss == pytest.approx(nats / score.tokens, rel=1e-5)


@pytest.mark.parametrize("rows", [1, 16])
def test_each_document_has_the_score_it_has_alone(model, corpus, shards, tokenizer, rows):
    shape, file = WindowShape(SEQ_LEN, rows), corpus / "math" / "held-out.txt"
    domains = score_each_document(model, tokenizer, {"math": shards}, [file], shape, SilentUi())
    held_out, text = domains["math"], domains[str(file)]
    assert held_out.score == score_shards(model, shards, shape)
    pooled = Score.pooled(held_out.documents)
    assert (pooled.tokens, pooled.bytes) == (shards.num_tokens, shards.num_bytes)
    assert pooled.loss == pytest.approx(held_out.score.loss, rel=1e-6)
    for number, one in enumerate(held_out.documents):
        alone = score_shards(model, shards, shape, [number])
        assert (one.tokens, one.bytes) == (alone.tokens, alone.bytes)
        assert one.loss == pytest.approx(alone.loss, rel=1e-5)
        assert text.documents[number].loss == pytest.approx(alone.loss, rel=1e-5)
    ids = [shards.document(number)[:-1].tolist() for number in range(shards.num_documents)]
    texts = list(map(tokenizer.decode, ids))
    assert list(map(held_out.text_of, range(len(ids)))) == texts
    assert list(map(text.text_of, range(len(ids)))) == texts


def test_a_file_with_the_name_of_a_source_is_refused(
    model, shards, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "math").write_text("1 + 1")
    files, shape = [Path("math")], window_shape(SEQ_LEN)
    with pytest.raises(YxanulError, match="name of a source"):
        score_each_document(model, tokenizer, {"math": shards}, files, shape, SilentUi())


def test_domains_are_the_validation_split_in_full(model, corpus, tokenizer, shards):
    domains = open_held_out(corpus, tokenizer)
    assert domains["math"].split == "validation"
    scores = score_domains(model, domains, {"math": window_shape(SEQ_LEN)}, SilentUi())
    assert scores == {"math": score_shards(model, shards, window_shape(SEQ_LEN))}


def test_scoring_leaves_no_gradient(model, shards):
    score_shards(model, shards, window_shape(SEQ_LEN), [0])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_shards_and_no_text_are_one_line(tmp_path, tokenizer):
    with pytest.raises(YxanulError, match=r"no shards in .*yxanul prepare"):
        open_held_out(tmp_path, tokenizer)
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "bad.txt").write_bytes(b"ab\xff")
    for name, said in [("empty", "no text"), ("bad", "invalid UTF-8"), ("none", "no file")]:
        with pytest.raises(YxanulError, match=said):
            read_documents(tmp_path / f"{name}.txt")


@pytest.mark.parametrize(
    "content",
    [
        "<|endoftext|>\none\n<|endoftext|>\ntwo\n<|endoftext|>\n",
        "one\n<|endoftext|>\n\n<|endoftext|>\ntwo",
        "\ufeffone\r\n<|endoftext|>\r\ntwo\r\n",
        "one\n <|endoftext|> \ntwo\n\n",
    ],
)
def test_a_file_is_cut_as_for_training(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content.encode())
    assert read_documents(tmp_path / "a.txt") == ["one", "two"]


def test_a_batch_of_ignored_targets_counts_nothing(model):
    ids = torch.zeros(1, 4, dtype=torch.int64)
    some, none = Batch(ids, ids, ids), Batch(ids, torch.full_like(ids, -100), ids)
    assert score_batches(model, [some, none], 4, 1) == score_batches(model, [some], 4, 1)


def test_packed_batches_are_equal_too_with_document_masking(tokenizer):
    model = make_model(tokenizer.vocab_size, document_masking=True)
    ids = torch.arange(16)[None]
    batch = Batch(ids, ids + 1, (ids >= 8).long())
    trained = model.loss(batch.ids_BT, batch.targets_BT, batch.documents_BT).total
    assert score_batches(model, [batch], 1, 1).loss * 16 == pytest.approx(trained.item(), rel=1e-6)


def test_accuracy_and_deviations_are_those_of_the_logits_and_batches(model, shards):
    shape = WindowShape(SEQ_LEN, 4, SEQ_LEN)
    right, losses = [], []
    for batch in validation_batches(shards, shape):
        logits = model.logits(model.hidden(batch.ids_BT))[..., : model.settings.known_vocab_size]
        logits, targets = logits[batch.targets_BT >= 0], batch.targets_BT[batch.targets_BT >= 0]
        right += (logits.argmax(-1) == targets).tolist()
        losses.append(torch.nn.functional.cross_entropy(logits, targets))
    losses = torch.stack(losses)
    metrics = score_shards(model, shards, shape).metrics()
    assert len(losses) > 3 and 0 < metrics["accuracy"] == pytest.approx(sum(right) / len(right))
    assert metrics["num_samples"] == shards.num_documents
    assert metrics["loss_std"] == pytest.approx(losses.std(correction=0).item(), rel=1e-4)
    deviation = losses.exp().std(correction=0).item()
    assert metrics["perplexity_std"] == pytest.approx(deviation, rel=1e-4)
