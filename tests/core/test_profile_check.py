"""Every fault of a profiles file is named with its place, and the schema that is shipped says the same."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.core.profile_check import Fault, find_faults
from trio_relay.core.profiles import parse_profiles

SHIPPED = Path(__file__).parents[2] / "profiles"
SCHEMA = json.loads((SHIPPED / "profile.schema.json").read_text())

FILE = """{
  "good": {"label": "Rita", "tags": ["a", "b"], "approval": "guarded", "autoClaim": false,
           "mayInterrupt": ["human"], "meta": {"anything": [1, {"tags": 2}]}},
  "odd": {
    "lable": "Rita",
    "tags": "review",
    "channels": ["ops", 3, " ", "ops"],
    "approval": "yolo",
    "autoClaim": 1,
    "mayInterrupt": ["everybody"],
    "meta": []
  },
  "odd": 7,
  "": {},
  "far": {"colour": "blue", "label": "x",
     "label": ""}
}
"""


def test_every_fault_is_named_with_its_place() -> None:
    assert find_faults(FILE) == [
        Fault(13, 3, None, "'odd' is there twice: the last one counts"),
        Fault(5, 5, "odd", "'lable' is no field of a profile: did you mean label?"),
        Fault(6, 13, "odd", "tags: expected a list of names"),
        Fault(7, 25, "odd", "channels: expected a name"),
        Fault(7, 28, "odd", "channels: expected a name"),
        Fault(7, 33, "odd", "channels: 'ops' is there twice"),
        Fault(8, 17, "odd", "approval: expected open | guarded | read-only"),
        Fault(9, 18, "odd", "autoClaim: expected true or false"),
        Fault(10, 22, "odd", "mayInterrupt: expected human | operator | peer | integration"),
        Fault(11, 13, "odd", "meta: expected a JSON object"),
        Fault(13, 10, "odd", "a profile is a JSON object"),
        Fault(14, 3, "", "a profile without a name cannot be chosen"),
        Fault(16, 6, "far", "'label' is there twice: the last one counts"),
        Fault(
            15,
            11,
            "far",
            "'colour' is no field of a profile: there are tags, capabilities, channels, mayInterrupt, label, approval, "
            "autoClaim, meta",
        ),
        Fault(16, 15, "far", "label: expected a name"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("", 1, 1, "not valid JSON"),
        ('{\n  "a": {},\n  oops\n}', 3, 3, "not valid JSON"),
        ("\n []", 2, 2, "expected a JSON object"),
        ("[" * 100_000, 1, 1, "nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", 1, 1, "a number too long"),
    ],
)
def test_a_file_that_cannot_be_read_has_one_fault(text: str, line: int, column: int, says: str) -> None:
    [fault] = find_faults(text)
    assert (fault.line, fault.column, fault.profile) == (line, column, None)
    assert says in fault.message


names = st.text(max_size=4) | st.sampled_from(["human", "peer", "open", "guarded"])
wild = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from(list(SCHEMA["$defs"]["profile"]["properties"]))
profiles = st.dictionaries(fields | names, st.lists(names, max_size=3) | names | wild, max_size=4)
documents = st.dictionaries(names, profiles | wild, max_size=3) | wild


@given(documents, st.sampled_from([None, 1]), st.booleans())
def test_the_schema_and_the_check_agree(document: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid(document)
    assert (not find_faults(text)) == valid


@given(st.text())
def test_anything_is_answered(text: str) -> None:
    for fault in find_faults(text):
        assert (fault.line >= 1, fault.column >= 1, bool(fault.message)) == (True, True, True)


@pytest.mark.parametrize(
    "file", [file for file in SHIPPED.iterdir() if file.suffix == ".json" and ".schema" not in file.name]
)
def test_what_is_shipped_is_good_and_named_like_its_file(file: Path) -> None:
    text = file.read_text()
    assert find_faults(text) == []
    assert list(parse_profiles(text, file.name)) == [file.stem]
    assert (file.parent / json.loads(text)["$schema"]).exists()
