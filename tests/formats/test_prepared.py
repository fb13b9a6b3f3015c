"""Rows and a template as a job file: what lines they make, and what is refused."""

import gc
import json
import tracemalloc
from contextlib import closing, contextmanager

import pytest

from batchrunner.core.errors import ConfigurationError, InputError
from batchrunner.formats.jobfile import Line, iter_lines
from batchrunner.formats.prepared import Prepared, Shape, read_schema, text_or_file
from batchrunner.formats.records import open_records
from batchrunner.formats.templates import Template

CSV = b'id,title\nx,"one\nmore"\ny,two\n'


@contextmanager
def prepared(folder, data=CSV, source="Say {{ title }}", name="p.jinja", **shape):
    path = folder / "d.csv"
    path.write_bytes(data)
    with closing(open_records(str(path))) as records:
        yield Prepared(records, Template(source, name), Shape(**shape))


def lines(made):
    found = list(iter_lines(made))
    assert all(isinstance(line, Line) for line in found)
    return found


def bodies(made):
    return [json.loads(line.body) for line in lines(made)]


def test_a_row_becomes_a_chat_request_with_its_line_for_a_name(tmp_path):
    with prepared(tmp_path) as made:
        found = lines(made)
    assert [(line.number, line.custom_id, line.url) for line in found] == [
        (2, "row-2", "/v1/chat/completions"),
        (4, "row-4", "/v1/chat/completions"),
    ]
    assert json.loads(found[0].body) == {"messages": [{"role": "user", "content": "Say one\nmore"}]}
    assert found[0].extras is None


def test_columns_that_are_kept_lie_under_metadata_columns(tmp_path):
    with prepared(tmp_path, id="id", keep=("title",)) as made:
        first = lines(made)[0]
    assert first.custom_id == "x"
    assert first.extras == b'{"metadata":{"columns":{"title":"one\\nmore"}}}'


def test_a_system_prompt_and_a_schema_go_where_chat_and_responses_have_them(tmp_path):
    schema = ("answer", b'{"type":"object"}')
    told = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    with prepared(tmp_path, system="Be brief", schema=schema) as made:
        assert bodies(made)[1] == {
            "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Say two"}],
            "response_format": {"type": "json_schema", "json_schema": told},
        }
    with prepared(tmp_path, system="Be brief", schema=schema, endpoint="/v1/responses") as made:
        assert bodies(made)[1] == {
            "input": "Say two",
            "instructions": "Be brief",
            "text": {"format": {"type": "json_schema", **told}},
        }


def test_other_endpoints_get_the_text_where_they_have_it(tmp_path):
    with prepared(tmp_path, endpoint="/v1/completions") as made:
        assert bodies(made)[1] == {"prompt": "Say two"}


def test_a_whole_body_is_taken_as_it_is(tmp_path):
    source = ' {"prompt": {{ title | tojson }}, "max_tokens": 5} \n'
    with prepared(tmp_path, source=source, name="b.json.jinja") as made:
        found = lines(made)
    assert (found[1].url, found[1].body) == (None, b'{"prompt": "two", "max_tokens": 5}')


@pytest.mark.parametrize(
    ("shape", "name", "said"),
    [
        ({"system": "x"}, "b.json.jinja", "makes whole bodies"),
        ({"endpoint": "/v1/rerank"}, "p.jinja", "takes more than one text"),
        ({"endpoint": "/v1/embeddings", "system": "x"}, "p.jinja", "no place for --system"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, shape, name, said):
    with pytest.raises(ConfigurationError, match=said), prepared(tmp_path, name=name, **shape):
        pass


@pytest.mark.parametrize("shape", [{"id": "no"}, {"keep": ("title", "no")}])
def test_a_column_that_is_not_there_is_named(tmp_path, shape):
    with pytest.raises(InputError, match='has no column "no"'), prepared(tmp_path, **shape):
        pass


def test_an_id_that_is_there_twice_is_refused_with_both_places(tmp_path):
    data = b"id,title\na,1\nb,2\na,3\n"
    with prepared(tmp_path, data, id="id") as made, pytest.raises(InputError) as caught:
        list(made)
    assert caught.value.message == f'{tmp_path}/d.csv:4:1: custom_id "a" was used at {tmp_path}/d.csv:2 already'


def test_an_empty_id_is_refused_with_its_place(tmp_path):
    with (
        prepared(tmp_path, b"id,title\n,1\n", id="id") as made,
        pytest.raises(InputError, match=r"d\.csv:2:1: .*\"id\""),
    ):
        list(made)


def test_the_digest_follows_source_template_and_options(tmp_path):
    def digest(*given, **shape):
        with prepared(tmp_path, *given, **shape) as made:
            return made.fingerprint().sha256

    assert digest() == digest()
    others = [digest(CSV + b"z,three\n"), digest(CSV, "Tell {{ title }}"), digest(system="x"), digest(id="id")]
    assert len({digest(), *others}) == 5


def test_a_limit_takes_the_first_rows(tmp_path):
    with prepared(tmp_path, limit=1) as made:
        assert [each.custom_id for each in made] == ["row-2"]


def test_a_system_prompt_may_lie_in_a_file_and_a_schema_is_read_strictly(tmp_path):
    (tmp_path / "s.txt").write_text("Be brief\n")
    assert text_or_file(f"@{tmp_path}/s.txt") == "Be brief"
    (tmp_path / "my schema.json").write_text('{"type": "object"}')
    assert read_schema(str(tmp_path / "my schema.json")) == ("my_schema", b'{"type":"object"}')
    (tmp_path / "bad.json").write_text('{"a": 1,\n}')
    with pytest.raises(InputError, match=r"bad\.json:1: invalid JSON"):
        read_schema(str(tmp_path / "bad.json"))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    def peak(rows):
        data = b"id,title\n" + b"".join(b"%d,%b\n" % (n, b"title " * 200) for n in range(rows))
        with prepared(tmp_path, data, id="id", keep=("id", "title")) as made:
            del data
            gc.collect()
            tracemalloc.start()
            count = sum(1 for _ in made)
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert count == rows
        return most

    few, many = peak(2_500), peak(7_500)
    assert many < few + 1024 * 1024
