"""How long and how often is measured."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

LARGEST_BATCH = 4096
MOST_THREADS = 1024


class Settings(BaseModel):
    """The settings of a benchmark.

    Attributes:
        batch_sizes: Rows at once.
        seconds: How long each row is measured at each batch size, all rounds together.
        rounds: Into how many turns these are divided.
        warm_up: Seconds after which warming up ends, stable or not.
        server: Whether the server scenario is measured.
        server_seconds: How long each row is loaded at each fraction, all rounds together.
        loads: The arrival rates of the server scenario, as fractions of the measured capacity.
        threads: For runtimes that are told how many on the CPU: one row for each; by default one and all cores.
        backends: On which Keras models are called; by default all that are installed.
        agreement: The share of rows with the same class as the float32 file, under which a row is not chosen.
        seed: Draws rows and arrivals.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_sizes: tuple[int, ...] = (1, 8, 64, 256)
    seconds: float = Field(default=0.6, gt=0, le=3600)
    rounds: int = Field(default=20, ge=2, le=1000)
    warm_up: float = Field(default=2.0, ge=0, le=600)
    server: bool = True
    server_seconds: float = Field(default=1.0, gt=0, le=3600)
    loads: tuple[float, ...] = (0.5, 0.8)
    threads: tuple[int, ...] = ()
    backends: tuple[str, ...] = ()
    agreement: float = Field(default=0.97, ge=0, le=1)
    seed: int = Field(default=0, ge=0)

    @field_validator("batch_sizes", mode="before")
    @classmethod
    def _sorted(cls, sizes: object) -> object:
        return tuple(sorted(set(sizes))) if isinstance(sizes, list | tuple) and sizes else sizes

    @field_validator("batch_sizes")
    @classmethod
    def _possible(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if not sizes or not all(1 <= size <= LARGEST_BATCH for size in sizes):
            raise ValueError(f"give whole numbers from 1 to {LARGEST_BATCH}")
        return sizes

    @field_validator("threads")
    @classmethod
    def _positive(cls, threads: tuple[int, ...]) -> tuple[int, ...]:
        if not all(1 <= number <= MOST_THREADS for number in threads):
            raise ValueError(f"give whole numbers from 1 to {MOST_THREADS}")
        return threads

    @field_validator("loads")
    @classmethod
    def _below_capacity(cls, loads: tuple[float, ...]) -> tuple[float, ...]:
        if not loads or not all(0 < load < 1 for load in loads):
            raise ValueError("give fractions between 0 and 1: a queue has no steady state at full capacity")
        return loads
