"""Keeps the server upright: how many requests are inside, how large their bodies are, how long these take to come."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

# How much of a body that is too large is still read and thrown away, and for how long: a client that is cut off while
# it sends does not see the answer.
LINGER_BYTES = 64 * 2**20
LINGER_SECONDS = 2.0


class RefusedError(Exception):
    """A request that is not answered.

    Args:
        status: The HTTP status.
        reason: One word for programs.
        message: One line for people.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class Gate:
    """Lets so many requests in at a time.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.inside = 0

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Holds a place; without one free, the request is refused at once rather than kept waiting for ever.

        Raises:
            RefusedError: All places are taken.
        """
        if self.inside >= self.most:
            raise RefusedError(503, "overloaded", f"{self.most} requests are being answered or wait; try again later")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


async def read_body(chunks: AsyncIterator[bytes], announced: str | None, most: int, seconds: float) -> bytes:
    """Reads a body and stops as soon as it is too large or too slow.

    Args:
        chunks: What comes.
        announced: The `Content-Length` header.
        most: Bytes at most.
        seconds: Within which it must have come.

    Returns:
        The body.

    Raises:
        RefusedError: It is too large (413) or too slow (408).
    """
    too_large = RefusedError(413, "too_large", f"the body is larger than {most} bytes")
    if announced is not None and announced.isdigit() and int(announced) > most:
        # Whoever asks first, by `Expect: 100-continue`, has not sent it yet.
        await _linger(chunks)
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in chunks:
                body += chunk
                if len(body) > most:
                    break
    except TimeoutError:
        raise RefusedError(408, "too_slow", f"the body did not come within {seconds:g} seconds") from None
    if len(body) > most:
        body.clear()
        await _linger(chunks)
        raise too_large
    return bytes(body)


async def _linger(chunks: AsyncIterator[bytes]) -> None:
    dropped = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            async for chunk in chunks:
                dropped += len(chunk)
                if dropped > LINGER_BYTES:
                    return
