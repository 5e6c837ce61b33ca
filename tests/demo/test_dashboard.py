"""The pictures of the dashboard: each panel in its place, with what Prometheus answers, and never passed off as Grafana's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from demo import dashboard
from demo.dashboard import Series, Span, pages, said, stacked

SPAN = Span(1_800_000_000, 1_800_000_240)


class Prometheus(BaseHTTPRequestHandler):
    """Answers each query with one series: 3 for a minute, then nothing, and then what is no number."""

    asked: list[str] = []  # noqa: RUF012 - of all requests

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.asked.append(query["query"][0])
        points = [[SPAN.start + n, "3"] for n in range(60)] + [[SPAN.end, "+Inf"]]
        answer = {"data": {"result": [{"metric": {"phase": "Accepted", "product": "h100"}, "values": points}]}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def prometheus(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Prometheus]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(dashboard, "PROMETHEUS", f"http://127.0.0.1:{server.server_address[1]}")
    Prometheus.asked.clear()
    yield Prometheus
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_row_is_drawn(prometheus: type[Prometheus]) -> None:
    """Each panel's title and each of its queries, with the variables filled in."""
    made = {name: text for name, text, _ in pages(SPAN)}
    panels = json.loads(dashboard.FILE.read_text())["panels"]
    assert list(made) == [panel["title"].lower() for panel in panels if panel["type"] == "row"]
    drawn = [panel for panel in panels if panel["type"] != "row"]
    assert len(prometheus.asked) == sum(len(panel["targets"]) for panel in drawn)
    assert not [expr for expr in prometheus.asked if "$" in expr]
    for panel in drawn:
        assert any(f"<b>{panel['title']}</b>" in text for text in made.values()), panel["title"]
    assert all("(not Grafana)" in text for text in made.values())
    assert "Accepted 3</span>" in made["delivery"]
    assert "inf" not in "".join(made.values()).lower().replace("info", "")


def test_stacked() -> None:
    """Each lies on those before, also where one begins later."""
    found = stacked([Series("a", [(1, 2.0), (2, 2.0)]), Series("b", [(2, 5.0)])])
    assert found == [Series("a", [(1, 2.0), (2, 2.0)]), Series("b", [(2, 7.0)])]


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.25, "percentunit", "25 %"),
        (0.0, "s", "0 s"),
        (0.0123, "s", "12.3 ms"),
        (5400, "s", "1.5 h"),
        (12_345, "none", "12,345"),
        (0.5, "ops", "0.5/s"),
        (134_217_728, "bytes", "128 MiB"),
    ],
)
def test_units(value: float, unit: str, words: str) -> None:
    """As a person reads them."""
    assert said(value, unit) == words
