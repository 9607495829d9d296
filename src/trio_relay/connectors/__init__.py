"""What other programs say in their own words becomes events of the relay: Alertmanager, GitHub, anything that posts JSON.

How a delivery is understood is pure (``alertmanager.py``, ``github.py``, ``rules.py``); ``receiver.py`` takes it over
HTTP, ``spool.py`` keeps its events on disk until the relay has them.
"""
