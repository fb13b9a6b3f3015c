"""Templates: what they make, and what they can neither reach nor use up."""

import pytest

from batchrunner.core.errors import InputError
from batchrunner.formats.records import Record
from batchrunner.formats.templates import Template, read_template


def render(source, name="p.jinja", /, **fields):
    return Template(source, name).render(Record(2, "d.csv", fields))


def refusal(source, name="p.jinja", /, **fields):
    with pytest.raises(InputError) as caught:
        render(source, name, **fields)
    return caught.value.message


def test_a_template_makes_the_text_of_a_message():
    source = (
        "Hi {{ who }}!\n{% for t in tags %}{{ loop.index }}: {{ t | upper }}{{ '; ' if not loop.last }}{% endfor %}"
    )
    assert render(source, who="<Bo>", tags=["a", "b"]) == "Hi <Bo>!\n1: A; 2: B"


def test_columns_with_any_name_are_in_row():
    assert render("{{ row['my column'] }} {{ row | length }}", **{"my column": 7}) == "7 1"


def test_macros_namespaces_and_set_blocks_work():
    source = (
        "{% macro line(x) %}- {{ x }}\n{% endmacro %}{% set ns = namespace(n=0) %}"
        "{% for x in xs %}{% set ns.n = ns.n + x %}{{ line(x) }}{% endfor %}{% set t %}={{ ns.n }}{% endset %}"
        "{{ t ~ '!' }}"
    )
    assert render(source, xs=[1, 2]) == "- 1\n- 2\n=3!"


def test_a_missing_column_is_named_with_the_templates_line_and_the_rows_place():
    assert refusal("one\n{{ titel }}", title="x") == (
        'p.jinja:2: there is no column "titel"; there is title (row d.csv:2)'
    )
    assert 'there is no column "titel"' in refusal("{% if titel %}{% endif %}", title="x")
    assert 'there is no column "a b"' in refusal("{{ row['a b'] }}", title="x")
    assert 'a dict has no "b"' in refusal("{{ a.b }}", a={})


def test_a_column_may_be_missing_where_the_template_says_so():
    assert render("{{ x | default('none') }}{% if y is defined %}y{% endif %}") == "none"


def test_a_whole_body_is_json_whose_values_are_put_in_by_tojson():
    source = '{"messages": [{"role": "user", "content": {{ t | tojson }}}], "n": {{ n }}, "b": {{ b }}, "z": {{ z }}}'
    assert render(source, "b.json.jinja", t='a"b\n</x>', n=1.5, b=True, z=None) == (
        '{"messages": [{"role": "user", "content": "a\\"b\\n</x>"}], "n": 1.5, "b": true, "z": null}'
    )


def test_a_row_can_not_add_keys_to_a_whole_body():
    said = refusal('{"content": "{{ t }}"}', "b.json.jinja", t='", "model": "dearest')
    assert "without tojson" in said


def test_a_whole_body_that_is_no_json_is_refused_with_its_place():
    said = refusal('{"a": 1,\n }', "b.json.jinja")
    assert said.startswith(
        "b.json.jinja:1: invalid JSON: a comma with nothing after it (line 1, column 8 of what it makes)"
    )


@pytest.mark.parametrize("source", ["{{ x", "{% for %}", "{{ x | nosuch }}", "{% endif %}"])
def test_what_is_no_template_is_refused_with_its_line(source):
    assert refusal("one\n" + source, x=1).startswith("p.jinja:2: ")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ '' | attr('__class__') }}",
        "{{ ['a'] | map('attr', '__class__') | list }}",
        "{{ ['a'] | map(attribute='__class__') | list }}",
        "{{ [1] | groupby('__class__') }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(x) }}",
        "{{ '{x}'.format_map(row) }}",
        "{{ x.__init__.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context.environment }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ joiner }}",
        "{{ get_flashed_messages.__globals__ }}",
        "{{ request.application.__globals__ }}",
        "{{ config.items() }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ range.__globals__ }}",
        "{{ missing.__class__ }}",
        "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
        "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}",
        "{% for i in [1] %}{{ loop._iterable }}{% endfor %}",
        "{{ row.__class__ }}",
        "{{ row.update({'a': 1}) }}",
        "{{ [1].append(2) }}",
        "{{ (x for y in z).gi_frame }}",
        "{% include '/etc/passwd' %}",
        "{% extends '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% from 'os' import system %}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% autoescape true %}{% endautoescape %}",
        "{{ ''.encode().__class__ }}",
        "{{ self }}",
        "{{ namespace }}",
        "{{ dict }}",
    ],
)
def test_a_hostile_template_reaches_neither_python_nor_files(source):
    refusal(source, x=1)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}" + "x" * 9_999 + "{% endfor %}",
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(90) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(90) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='a') %}{% for i in range(90) %}{% set b %}{{ n.x }}{{ n.x }}{% endset %}"
        "{% set n.x = b %}{% endfor %}",
        "{% set n = namespace() %}{% set n.x = [n] %}{{ n.x }}",
        "{{ range(10 ** 9) }}",
        "{{ 'a' * 10 ** 10 }}",
        "{{ [1] * 10 ** 10 }}",
        "{{ 10 ** 99999999 }}",
        "{{ '%99999999d' % 1 }}",
        "{{ '%*d' % (99999999, 1) }}",
        "{{ '%(a(b)c)99999999d' % {'a(b)c': 1} }}",
        "{{ '%99999999d' | format(1) }}",
        "{{ ['%99999999d'] | map('format', 1) | list }}",
        "{{ 'a'.center(10 ** 10) }}",
        "{{ 'a' | center(10 ** 10) }}",
        "{{ 'a' | indent(10 ** 9, true) }}",
        "{{ [1] | batch(10 ** 9, 1) | list }}",
        "{{ 1 | round(10 ** 9, 'floor') }}",
        "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
        "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}",
        "{{ ('b' * 1000000).join('a' * 1000000) }}",
        "{{ ('a' * 1000000) | join('b' * 1000000) }}",
        "{{ (['a'] * 100000) | map('replace', 'a', 'b' * 1000000) | list }}",
        "{{ ([[1]] * 100000) | sum(start=[]) }}",
        "{{ ('a' * 1000000) | replace(old='a', new='b' * 1000000) }}",
        "{{ ('f' * 9000000) | int(0, 16) is divisibleby 3 }}",
        "{% set a = 'a' * 9000000 %}" + "".join(f"{{% set b{n} = a[1:] %}}" for n in range(50)),
        "{{ lipsum(n=10 ** 9) }}",
        "{{ " + "(" * 900 + "1" + ")" * 900 + " }}",
        "{% if 1 %}" * 200 + "{% endif %}" * 200,
    ],
)
def test_a_hostile_template_can_not_use_up_the_machine(source):
    refusal(source, x=1)


def test_lists_that_hold_themselves_twice_are_refused_before_they_are_written_out(monkeypatch):
    monkeypatch.setattr("batchrunner.formats.bounds.MOST_SIZE", 100_000)
    source = "{% set n = namespace(x=[1]) %}{% for i in range(90) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}"
    assert "a value of more than" in refusal(source)


def test_time_is_bounded_as_well(monkeypatch):
    monkeypatch.setattr("batchrunner.formats.bounds.MOST_SECONDS", 0.0)
    assert "it takes more than" in refusal("{% for i in range(999) %}{% endfor %}")


def test_each_row_begins_anew():
    template = Template("{% for i in range(60000) %}{% endfor %}{{ x }}", "p.jinja")
    assert [template.render(Record(n, "d", {"x": n})) for n in range(3)] == ["0", "1", "2"]


def test_a_template_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    (tmp_path / "p.jinja").write_bytes(b"one\ntwo \xff")
    with pytest.raises(InputError, match=r"p\.jinja:2: not UTF-8: byte 0xff"):
        read_template(str(tmp_path / "p.jinja"))


def test_named_arguments_are_looked_at_like_others():
    said = refusal("{{ ('a' * 1000000) | replace(old='a', new='b' * 1000000) }}")
    assert "a value of more than" in said
