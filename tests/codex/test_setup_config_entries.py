"""Our entries in config.toml: every byte of the owner's stays, whatever Codex makes of the file."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.codex.setup.config_entries import (
    MARKETPLACE,
    PLUGIN_ID,
    has_entries,
    with_entries,
    without_entries,
)

SOURCE = "/somewhere"
ENTRIES = f"""
[marketplaces.{MARKETPLACE}]
source_type = "local"
source = "{SOURCE}"

[plugins."{PLUGIN_ID}"]
enabled = true
"""
TRUSTED = f"""
[hooks.state."{PLUGIN_ID}:hooks/hooks.json:session_start:0:0"]
trusted_hash = "sha256:dd5c"
"""

OWNERS = {
    "empty": "",
    "comments": '# mine\n\nmodel = "x"   # trailing\n\n\n[projects."/a"]  # p\ntrust_level   =  \'trusted\'\n# the end\n\n',
    "last line without an end": "# c\n[a]\nb = 1",
    "windows": '# c\r\nmodel = "x"\r\n\r\n[projects."/a"]\r\ntrust_level = "trusted"\r\n',
    "byte order mark": '\ufeff# c\nmodel = "x"\n',
    "other plugins": '[marketplaces.other]\nsource = "y"\n\n[plugins."z@other"]\nenabled = false # off\n',
    "other plugins inline": 'plugins = { "z@other" = { enabled = false } } # inline\nmarketplaces = {}\n',
    "one of the two inline": 'plugins = { "z@other" = { enabled = false } } # inline\n\n[last]\na = 1\n',
    "a line that looks like ours": f'text = """\n[marketplaces.{MARKETPLACE}]\n"""\nlist = [\n  "a",  # one\n]\n',
}


def as_codex_writes(owner: str) -> str:
    """Codex 0.169: LF, no byte order mark, a line's end at the end, no inline tables."""
    text = owner.removeprefix("\ufeff").replace("\r\n", "\n")
    if "plugins = {" in text:
        rest = text.partition("\n\n")[2]
        text = f'[plugins]\n"z@other" = {{ enabled = false }}\n{rest}'
    return text + ("" if text.endswith("\n") or not text else "\n") + ENTRIES


@pytest.mark.parametrize("owner", OWNERS.values(), ids=list(OWNERS))
def test_our_entries_come_and_go_and_the_owners_bytes_stay(owner: str) -> None:
    mended = with_entries(owner, as_codex_writes(owner), SOURCE)
    assert mended is not None
    meant = tomllib.loads(mended.removeprefix("\ufeff"))
    assert meant["plugins"][PLUGIN_ID] == {"enabled": True}
    assert meant["marketplaces"][MARKETPLACE]["source"] == "/somewhere"
    assert has_entries(mended)
    after = without_entries(mended)
    assert after is not None
    assert not has_entries(after)
    # Whether the last line was ended is known from the record, not from the text.
    assert after.rstrip("\r\n") == owner.rstrip("\r\n")


WORDS = st.sampled_from(["a", "b", "c"])
LINES = st.lists(
    st.one_of(
        st.just(""),
        st.just("# a comment"),
        st.builds("{} = 1  # {}".format, WORDS, WORDS),
        st.builds("[{}.{}]".format, WORDS, st.integers(0, 9)),
        st.builds('[projects."/{}"]'.format, st.integers(0, 99)),
        st.builds('[plugins."p{}@other"]  # theirs'.format, st.integers(0, 99)),
    )
)


@given(before=LINES, after=LINES, trusted=st.booleans())
def test_wherever_they_stand_only_our_entries_go(before: list[str], after: list[str], trusted: bool) -> None:
    first = "".join(f"{line}\n" for line in before)
    # What comes after a table of ours must open a table of its own.
    rest = "".join(f"{line}\n" for line in ["[last]", *after])
    owner = f"{first}\n{rest}"
    try:
        tomllib.loads(owner)
    except tomllib.TOMLDecodeError:
        return
    assert without_entries(f"{first}{ENTRIES}{TRUSTED if trusted else ''}\n{rest}") == owner


def test_what_was_added_inside_our_tables_goes_with_them() -> None:
    policy = f'\n[plugins."{PLUGIN_ID}".mcp_servers.agent_relay]\nenabled = false\n'
    assert without_entries(f"a = 1\n{ENTRIES}{policy}") == "a = 1\n"


def test_trust_in_our_hooks_goes_with_them_and_trust_in_others_stays() -> None:
    other = '\n[hooks.state."/home/config.toml:stop:0:0"]\ntrusted_hash = "sha256:fe"\n'
    assert without_entries(f"a = 1\n\n[hooks.state]\n{TRUSTED}{ENTRIES}") == "a = 1\n"
    assert without_entries(f"a = 1\n\n[hooks.state]\n{other}{TRUSTED}") == f"a = 1\n\n[hooks.state]\n{other}"


def test_installing_again_keeps_what_was_added_inside_our_tables() -> None:
    policy = f'[plugins."{PLUGIN_ID}".mcp_servers.agent_relay]  # mine\nenabled = false\n'
    installed = f"a = 1\n{ENTRIES}\n{policy}"
    assert with_entries(installed, installed.replace("  # mine", ""), SOURCE) == installed
    moved = installed.replace("/somewhere", "/elsewhere")
    again = with_entries(installed, moved, SOURCE)
    assert again is not None
    assert tomllib.loads(again) == tomllib.loads(moved)


def test_what_codex_has_broken_is_made_whole() -> None:
    owner = '# c\nplugins = { "a@b" = { enabled = false } }\n'
    broken = f'[# c\nplugins ]\n"a@b" = {{ enabled = false }}\n{ENTRIES}'  # Codex 0.169
    mended = with_entries(owner, broken, SOURCE)
    assert mended is not None
    assert tomllib.loads(mended) == {
        "plugins": {"a@b": {"enabled": False}, PLUGIN_ID: {"enabled": True}},
        "marketplaces": {MARKETPLACE: {"source_type": "local", "source": SOURCE}},
    }
    assert without_entries(mended) == owner


def test_a_file_that_is_no_toml_is_left_alone() -> None:
    assert without_entries("model = = 1\n") is None
    assert with_entries("model = = 1\n", ENTRIES, SOURCE) is None
    assert has_entries(f"model = = 1\n{ENTRIES}")
