"""Which of the model's commands are ours alone. Pure.

A ``PreToolUse`` hook that says ``allow`` approves the whole command line, and Claude Code's own pattern
``Bash(trio-relay:*)`` also matches ``trio-relay x && touch y`` (2.1.329). So the line is read here, strictly: one
simple command, of words whose meaning no shell can change. Whatever is not plainly that is the person's to approve.
"""

import re
from collections.abc import Sequence

PROGRAMS = ("trio-relay", "agent-relay")
#: What a model may do unasked: speak, read and work as its own agent. Not: what concerns the machine or the relay itself,
#: and never what answers for a person (``approve``, ``deny``).
_HARMLESS = frozenset(
    {
        "agent", "agents", "claim", "complete", "disconnect", "explain", "history", "inbox", "label", "leases", "message",
        "pair", "read", "release", "reply", "search", "send", "send-claimable", "status", "tags",
        "task", "tasks", "thread", "threads", "version",
    }
)  # fmt: skip
#: What turns one of these into something else: it runs a program, removes another agent, decides for a person.
_HARMFUL = {
    "agent": {"--remove"},
    "leases": {"run"},
    "task": {"--overrule"},
    "threads": {"resume"},
}
#: Options with a value, of `claim`.
_VALUED = frozenset({"--agent", "--for", "--from"})
#: Options by which a command would speak as another agent, to another relay, or with another credential.
_ELSEWHERE = ("--agent", "--from", "--relay-url", "--token", "--token-file", "--url")
#: ``... <<'END'`` at the end of the first line, the text, and ``END`` alone on the last. Between them only what a shell takes
#: for a blank: any other white space would belong to the word that ends the text.
_HERE = re.compile(
    r"(?P<command>[^\n]*?)[ \t]*<<[ \t]*(['\"])(?P<end>\w+)\2[ \t]*\n(?P<text>.*)\Z", re.DOTALL
)
_BARE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_RUNS = re.compile(r"\b(?:trio|agent)-relay[\"']?\s+[\"'\\]*/?(?:claim|leases[\"']?\s+[\"'\\]*run)\b")
_PERSONS_WORD = re.compile(
    r"\b(?:trio|agent)-relay[\"']?\s+[\"'\\]*/?(?:(?:approve|deny|tokens|join|invite)\b|threads[\"']?\s+[\"'\\]*resume\b)"
)


def is_harmless(command: str, agent_id: str | None = None) -> bool:
    """Say whether a command line is one call of ours that needs no approval. `agent_id` may be named as the speaker."""
    words = simple_words(_without_here_document(command))
    if not words or words[0] not in PROGRAMS:
        return False
    rest = [word for word in words[1:] if word != "--json"]
    verb = rest[0].removeprefix("/") if rest else ""
    if verb not in _HARMLESS or _HARMFUL.get(verb, set()) & {word.removeprefix("/") for word in rest[1:]}:
        return False
    if verb == "claim" and not _only_claims(rest[1:]):
        return False
    return not _speaks_elsewhere(rest[1:], agent_id)


def _only_claims(words: Sequence[str]) -> bool:
    """Say whether a claim is one and no more: with words behind the number it runs them as a program."""
    given = [
        word
        for number, word in enumerate(words)
        if not word.startswith("-") and (number == 0 or words[number - 1] not in _VALUED)
    ]
    return "--" not in words and len(given) == 1


def _speaks_elsewhere(words: Sequence[str], agent_id: str | None) -> bool:
    for number, word in enumerate(words):
        if word == "--" and number and not words[number - 1].startswith("-"):
            return False  # behind an option it may be that option's value
        name, equals, value = word.partition("=")
        # click takes any beginning of an option that is clear.
        if len(name) > 2 and name.startswith("--") and any(each.startswith(name) for each in _ELSEWHERE):
            named = value if equals else next(iter(words[number + 1 :]), None)
            if name not in {"--agent", "--from"} or agent_id is None or named != agent_id:
                return True
    return False


def answers_for_a_person(command: str) -> bool:
    """Say whether a command line would decide what only a person may: approvals, and who may enter the room.

    A fence, not a wall: a shell can say anything in other words. What the credential may do is the relay's to refuse.
    """
    return _PERSONS_WORD.search(command) is not None


def runs_a_program(command: str) -> bool:
    """Say whether a command line of ours may run anything: a skill's grant for our commands does not mean that."""
    return _RUNS.search(command) is not None


def _without_here_document(command: str) -> str:
    """A command whose text comes as a quoted here-document, without it; another command as it is."""
    found = _HERE.fullmatch(command.strip("\n"))
    if found is None:
        return command
    lines = found["text"].split("\n")
    return found["command"] if lines.count(found["end"]) == 1 and lines[-1] == found["end"] else command


def simple_words(command: str) -> list[str] | None:
    """The words of one simple command without substitution, redirection or pattern; None for anything more."""
    words: list[str] = []
    word: str | None = None
    rest = command.strip(" \t\n")
    while rest:
        if rest[0] in " \t":
            if word is not None:
                words.append(word)
            word, rest = None, rest.lstrip(" \t")
            continue
        piece, rest = _piece(rest)
        if piece is None:
            return None
        word = (word or "") + piece
    return words if word is None else [*words, word]


def _piece(text: str) -> tuple[str | None, str]:
    """Read one piece of a word off the front of `text`; None where it is not plain."""
    if text[0] == "'":
        inside, quote, rest = text[1:].partition("'")
        return (inside if quote else None), rest
    if text[0] == '"':
        inside, quote, rest = text[1:].partition('"')
        return (None if not quote or set(inside) & set("$`\\!") else inside), rest
    if text[0] == "\\" and text[1:2] not in {"", "\n"}:
        return text[1], text[2:]
    found = _BARE.match(text)
    return (found[0], text[found.end() :]) if found else (None, text)
