"""What is tried: studies, and the search that answers them."""

from kerasdl.tune.study import Study

__all__ = ["Study"]
