"""The dashboard: what people see of the room, at ``/``.

How a view is added
===================
1. What it shows is read by an operation in ``relay/operations/`` (a function of a transaction; one that belongs to no
   resource of the API stands in ``operations/board.py`` or a file like it), through named SQL whose plan
   ``tests/store/test_query_plans.py`` looks at: a page costs what it shows, whatever the store holds.
2. A module here with one function ``routes(pages, frame)`` that adds its views to the blueprint, listed in `VIEWS` below::

       def tasks_pages(pages: Blueprint, frame: Frame) -> None:
           @pages.get("/tasks")
           @page(Scope.OBSERVE)                    # who may see it; decides=True: who may decide
           async def tasks_page() -> Response:
               found = await frame.service.read(board.tasks) if wants("tasks") else []
               return await frame.show("tasks.html", title="Tasks", here="tasks", tasks=found)

           @pages.post("/tasks/<int:task_id>/cancel")
           @page(Scope.CLAIM)
           async def cancel(task_id: int) -> Response:
               fields = await form()               # dict[str, str]; checked against another site's pages already
               await frame.service.write(...)      # a RelayError becomes a sentence on the page
               return go("/tasks", said="Task 5 is cancelled.")

   ``person.get()`` is who looks: ``.name`` they write as, ``.may("send")``, ``.decides``.
3. A template that extends `layout` and is made of regions::

       {% extends layout %}{% from "parts.html" import region, empty %}
       {% block main %}
       {% call region("tasks", on="task", title="Open tasks") %} … {% endcall %}
       {% endblock %}

   ``on``: the words of the live digest that make the browser ask for the region again: the family of an event
   (``task``), the kind (``task.status``), or one thing (``task:5``, ``message:7``, ``agent:bob``, ``pair:3``). It asks for the
   same page with the header ``X-Regions: tasks``; a view that shows several regions asks ``wants("tasks")`` before it reads.
   What changes is merged into the page: focus, half-typed text and open ``<details>`` stay. ``pace=5``: at most every 5 s.
   ``every=15``: also when nothing happened for 15 s, for what changes with time alone (leases are renewed without an event).
   Rows are merged by their ``id`` or ``data-key``: give every row one.
   A long list is ``<tbody data-list="messages" data-on="message.new" data-order="newest">`` inside a region of its own,
   with ``<tr data-key="message:5" data-number="5">`` rows, and after the table ``<a data-more href="?before=5">``: see
   ``messages.html`` and `asked`. A changed row is asked for by its key, new ones come by themselves, older ones on
   scrolling, and rows far from view leave the document.
4. Forms work without script. ``<form method="post" data-inline>`` stays where it is with it. ``data-confirm="…?"`` asks first,
   ``data-once`` keeps a second click from sending again.
5. A line in ``navigation.py``; a line per route in the table of ``docs/dashboard.md`` (a test holds it to the code); styles exist: look through ``app.css`` first.
   No inline script or style anywhere: the Content-Security-Policy forbids both.

Filters of the templates: ``ms|when`` ("3 min ago"), ``ms|clock`` (10:02:03.004), ``ms|span`` (2.1 s), ``agent|condition``,
``agent|shown_name``, ``text|excerpt``. Macros in ``parts.html``: `region`, `empty` (a state that teaches), `status` (an agent's
condition), `rungs_of` (a small ladder), `chip`, `who` (a link to an agent).
"""

from quart import Blueprint, Response
from werkzeug.exceptions import HTTPException

from trio_relay.errors import RelayError
from trio_relay.relay.web.dashboard.access import access_pages
from trio_relay.relay.web.dashboard.agents import agents_pages
from trio_relay.relay.web.dashboard.approvals import approvals_pages
from trio_relay.relay.web.dashboard.compose import compose_pages
from trio_relay.relay.web.dashboard.explaining import explaining_pages
from trio_relay.relay.web.dashboard.frame import Frame
from trio_relay.relay.web.dashboard.leases import leases_pages
from trio_relay.relay.web.dashboard.live import live_pages
from trio_relay.relay.web.dashboard.messages import messages_pages
from trio_relay.relay.web.dashboard.overview import overview_pages
from trio_relay.relay.web.dashboard.pairs import pairs_pages
from trio_relay.relay.web.dashboard.stuck import stuck_pages
from trio_relay.relay.web.dashboard.tasks import tasks_pages
from trio_relay.relay.web.dashboard.threads import threads_pages
from trio_relay.relay.web.dashboard.watch import watch_pages
from trio_relay.relay.web.problems import log_bug

VIEWS = (
    overview_pages,
    agents_pages,
    messages_pages,
    threads_pages,
    compose_pages,
    live_pages,
    approvals_pages,
    stuck_pages,
    tasks_pages,
    pairs_pages,
    leases_pages,
    watch_pages,
    access_pages,
    explaining_pages,
)


def dashboard_blueprint(frame: Frame) -> Blueprint:
    """The pages for whoever is logged in; ``web/access.py`` lets nobody else reach them."""
    pages = Blueprint("dashboard", __name__)

    @pages.errorhandler(RelayError)
    async def on_fault(error: RelayError) -> Response:
        return await frame.fault(error)

    @pages.errorhandler(Exception)
    async def on_bug(error: Exception) -> Response:
        if isinstance(error, HTTPException):
            raise error
        log_bug(error)
        return await frame.fault(
            RelayError("the relay made a mistake; it is in its log", code="internal_error")
        )

    for add_views in VIEWS:
        add_views(pages, frame)
    return pages
