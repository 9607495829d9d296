from quart import Quart

from trio_relay.relay.web.routing import Route


def test_a_url_is_built_when_one_is_asked_for() -> None:
    app = Quart(__name__, static_folder=None)
    app.url_rule_class = Route
    app.add_url_rule("/agents/<agent>/inbox", "inbox")
    addresses = app.url_map.bind("localhost")
    for _ in range(2):
        assert addresses.build("inbox", {"agent": "a b", "wait": "3"}) == "/agents/a%20b/inbox?wait=3"
        assert addresses.build("inbox", {"agent": "c"}, append_unknown=False) == "/agents/c/inbox"
    assert addresses.match("/agents/c/inbox") == ("inbox", {"agent": "c"})
