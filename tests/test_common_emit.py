"""What commands print for people: texts as they are, whatever is in them, and no figure cut."""

from rich.console import Group

from gen import report
from gen.commands.common import emit


def printed(renderable, capsys):
    emit({}, as_json=False, render=lambda: renderable)
    return capsys.readouterr().out


def test_texts_are_no_markup(capsys):
    texts = ["[/x]/a.toml", "[red]b", ":smile:"]
    out = printed(
        Group(report.table(["[/head]", "b"], [[text, text] for text in texts], title="[/t]"), *texts), capsys
    )
    assert all(out.count(text) == 3 for text in texts)
    assert "[/t]" in out
    assert "[/head]" in out


def test_figures_are_whole_in_a_file(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    row = ["ffn_down", "256 x 4096 x 11008", "32", "105,714,549,766", "24.4%", "100.0%", "27,123.2", "123.86"]
    out = printed(report.table(["product", *"abcdefg"], [row], numbers=6), capsys)
    assert all(one in out for one in row)


def test_what_has_no_room_in_a_terminal_is_seen_to_be_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    out = printed(report.table(["product", "b", "c"], [["x" * 20, "1" * 20, "2" * 20]], numbers=2), capsys)
    assert out.count("…") == 3
