"""Properties are judged by their truth: a busy machine is no failure, and nothing is kept in the checkout."""

from hypothesis import settings

settings.register_profile("kerasdl", deadline=None, database=None)
settings.load_profile("kerasdl")
