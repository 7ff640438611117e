"""What came of points, kept in SQLite by content address: each row is written whole, the moment that it is done.

The journal is a write-ahead log: a process that is killed at any time leaves a file with every row that it had written. Only the
driver of a sweep writes; whoever wants reads meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gen.errors import RequestError
from gen.sweep.points import Point

MEBIBYTE = 1 << 20
FORMAT = 1
"""Version of the tables."""
REFUSED, UNFIT, TIMING, TIMEOUT, TOOL, CRASH, LOST = (
    "refused", "does not fit", "timing", "time-out", "tool", "crash", "lost",
)  # fmt: skip
"""Kinds of failure: no such configuration, too little of a part, clock missed, took too long, a program failed, the evaluation
broke, whoever worked on it is gone. Only the last is no answer: such a point runs again."""

_TABLES = """
CREATE TABLE IF NOT EXISTS points (
    key TEXT PRIMARY KEY, point TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
    kind TEXT, reason TEXT, log TEXT, figures TEXT NOT NULL, floorplan TEXT, seconds REAL NOT NULL,
    peak_bytes INTEGER NOT NULL, seconds_allowed REAL NOT NULL, worker TEXT NOT NULL,
    finished TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chosen (
    sweep TEXT NOT NULL, place INTEGER NOT NULL, settings TEXT NOT NULL, PRIMARY KEY (sweep, place)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of a point.

    Parameters
    ----------
    key : str
        Content address.
    point : Point
    status : str
        ``done`` or ``failed``; then ``kind`` (above), ``reason`` and ``log``, the end of what its programs said, tell why.
    figures : dict
        Numbers by the names of ``figures.FIGURES``, or by an evaluator's own.
    floorplan : dict or None
        Where cells lie: see ``gen.estimate.fpga.layout``.
    seconds : float
        That it took.
    peak_bytes : int
        Of memory, of its largest process.
    seconds_allowed : float
    worker : str
        Machine and process that it ran in.
    """

    key: str
    point: Point
    status: str
    kind: str | None = None
    reason: str | None = None
    log: str | None = field(default=None, repr=False)
    figures: dict[str, Any] = field(default_factory=dict)
    floorplan: dict[str, Any] | None = field(default=None, repr=False)
    seconds: float = 0.0
    peak_bytes: int = 0
    seconds_allowed: float = 0.0
    worker: str = ""

    @property
    def done(self) -> bool:
        """It has figures."""
        return self.status == "done"

    def _repr_html_(self) -> str:
        from gen import notebook

        return notebook.point(self)


_COLUMNS = (
    "key", "point", "status", "kind", "reason", "log", "figures", "floorplan", "seconds", "peak_bytes",
    "seconds_allowed", "worker",
)  # fmt: skip


class Store:
    """A file of rows.

    Parameters
    ----------
    path : Path
        Made if need be.
    read_only : bool
        It must be there, and stays as it is.

    Raises
    ------
    RequestError
        The file is no store, or cannot be opened.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        if read_only and not path.is_file():
            raise RequestError(f"--store {str(path)!r}: must be a file that is there")
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._open(read_only)
        except (sqlite3.Error, OSError) as error:
            raise RequestError(
                f"--store {str(path)!r}: must be a store of points that can be written ({error})"
            ) from None

    def _open(self, read_only: bool) -> None:
        run = self._connection.execute
        (version,) = run("PRAGMA user_version").fetchone()
        (tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
        if version not in (0, FORMAT) or ((tables or read_only) and not version):
            raise sqlite3.DatabaseError(f"its format must be {FORMAT}, not {version}")
        if read_only:
            return
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        if not version:
            self._connection.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {FORMAT};COMMIT;")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is lost without."""
        self._connection.close()

    def put(self, row: Row) -> None:
        """Keep a row: when this returns it is on the disk. An earlier one of the same key goes."""
        values = (
            row.key, json.dumps(row.point.as_dict()), row.status, row.kind, row.reason, row.log, json.dumps(row.figures),
            None if row.floorplan is None else json.dumps(row.floorplan), row.seconds, row.peak_bytes,
            row.seconds_allowed, row.worker,
        )  # fmt: skip
        marks = ", ".join("?" * len(_COLUMNS))
        with self._errors():
            self._connection.execute(
                f"INSERT OR REPLACE INTO points ({', '.join(_COLUMNS)}) VALUES ({marks})", values
            )

    def get(self, key: str) -> Row | None:
        """The row of a content address."""
        found = list(self._rows("WHERE key = ?", [key]))
        return found[0] if found else None

    def find(self, prefix: str) -> Row:
        """The only row whose key begins with ``prefix``; raises ``RequestError`` when there is none or more than one."""
        if not prefix or not set(prefix) <= set("0123456789abcdef"):
            raise RequestError(
                f"point {prefix!r}: must be the beginning of a key, hexadecimal digits in small letters"
            )
        found = list(self._rows("WHERE key >= ? AND key < ? LIMIT 2", [prefix, prefix + "g"]))
        if len(found) != 1:
            many = "more than one begins" if found else "none begins"
            raise RequestError(
                f"point {prefix!r}: must be the beginning of one key in {self.path}, and {many} so"
            )
        return found[0]

    def rows(self) -> list[Row]:
        """All of them, by key."""
        return list(self._rows("ORDER BY key", []))

    def choose(self, sweep: str, place: int, settings: dict[str, Any]) -> None:
        """Note what an explorer's choice number ``place`` was."""
        with self._errors():
            self._connection.execute(
                "INSERT OR REPLACE INTO chosen VALUES (?, ?, ?)", [sweep, place, json.dumps(settings)]
            )

    def forget(self, sweep: str) -> None:
        """Forget the choices of an explorer; the points stay."""
        with self._errors():
            self._connection.execute("DELETE FROM chosen WHERE sweep = ?", [sweep])

    def choices(self, sweep: str) -> list[dict[str, Any]]:
        """Settings that an explorer chose, in order."""
        with self._errors():
            found = self._connection.execute(
                "SELECT settings FROM chosen WHERE sweep = ? ORDER BY place", [sweep]
            ).fetchall()
        return [json.loads(settings) for (settings,) in found]

    def _rows(self, condition: str, values: Sequence[Any]) -> Iterator[Row]:
        with self._errors():
            found = self._connection.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM points {condition}", values
            ).fetchall()
        for one in found:
            named = dict(zip(_COLUMNS, one, strict=True))
            try:
                named["point"] = Point.from_dict(json.loads(named["point"]))
                named["figures"] = json.loads(named["figures"])
                named["floorplan"] = named["floorplan"] and json.loads(named["floorplan"])
            except (ValueError, KeyError, TypeError):
                raise RequestError(
                    f"--store {str(self.path)!r}: the point {named['key']} must be as it was written, and is not"
                ) from None
            yield Row(**named)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RequestError(
                f"--store {str(self.path)!r}: must be a whole store that can be written ({error})"
            ) from None
