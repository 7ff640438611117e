"""Where points run: processes of this machine, or the workers of a Dask scheduler."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gen.errors import RequestError
from gen.sweep import runner

SPARE = 16
"""Points that wait at a scheduler; workers may still join."""


@dataclass(frozen=True)
class Place:
    """An executor, and how many points it works on at a time."""

    executor: Executor
    workers: int
    text: str
    spare: int = 2
    stop: Callable[[], None] = lambda: None
    """Ends what runs, as far as that is in our hands; nothing more is to be given to the executor then."""

    @property
    def width(self) -> int:
        """Points to be given at a time: some wait, so that no worker does."""
        return self.workers + self.spare


def processors() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def local(jobs: int) -> Iterator[Place]:
    """``jobs`` processes at a time on this machine; leaving it early ends those that run."""
    executor = ThreadPoolExecutor(jobs, thread_name_prefix="point")

    def stop() -> None:
        executor.shutdown(wait=False, cancel_futures=True)
        ending = threading.Thread(target=executor.shutdown)
        ending.start()
        while ending.is_alive():
            # Some may be about to start.
            runner.end_all()
            ending.join(0.05)

    text = f"{jobs} process{'es' if jobs > 1 else ''} of this machine"
    try:
        yield Place(executor, jobs, text, stop=stop)
    except BaseException:
        stop()
        raise
    executor.shutdown()


@contextmanager
def dask(url: str, *, patience: float = 20.0) -> Iterator[Place]:
    """The workers of the Dask scheduler at ``url``; there must be one within ``patience`` seconds.

    Results are taken and kept one by one as they come, so that a worker's death costs the points that it was at and no other.

    Raises ``RequestError`` when Dask is not installed or there is nobody at ``url``.
    """
    try:
        from distributed import Client
    except ImportError:
        raise RequestError(
            f"--scheduler {url!r}: must be left out, or Dask installed: pip install 'gatemill[cluster]'"
        ) from None
    try:
        # A client that cannot be made takes its time to say so, for ever where somebody else listens.
        with ThreadPoolExecutor(1) as apart:
            apart.submit(asyncio.run, _ask(url, patience)).result()
        client: Any = Client(url, timeout=patience, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise RequestError(
            f"--scheduler {url!r}: must be the address of a Dask scheduler, such as tcp://127.0.0.1:8786 "
            f"({error or f'no answer within {patience:g} s'})"
        ) from None
    try:
        try:
            client.wait_for_workers(1, timeout=patience)
        except TimeoutError:
            raise RequestError(
                f"--scheduler {url!r}: must have a worker within {patience:g} s (dask worker {url})"
            ) from None
        threads = sum(client.nthreads().values())
        executor = client.get_executor(pure=False, retries=2)
        yield Place(executor, threads, f"{threads} workers of {url}", max(SPARE, threads))
    finally:
        client.close()


async def _ask(url: str, patience: float) -> None:
    """Have whoever is at ``url`` say that it is a scheduler; raises ``OSError`` or ``ValueError`` when it does not."""
    from distributed.core import rpc
    from distributed.security import Security

    async with rpc(url, connection_args=Security().get_connection_args("client"), timeout=patience) as asked:
        try:
            found = await asyncio.wait_for(asked.identity(), patience)
        except MemoryError:
            # Dask takes the first bytes of any answer for its length.
            raise ValueError("its answer is of another kind") from None
    if found.get("type") != "Scheduler":
        raise ValueError(f"it is a {found.get('type')}")
