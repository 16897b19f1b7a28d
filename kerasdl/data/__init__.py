"""What to learn from: named data sets, and files of the user's own."""

from kerasdl.data.balance import with_class_weights
from kerasdl.data.dataset import Dataset, Scaling, Split
from kerasdl.data.folds import Folds
from kerasdl.data.loading import check, load, names
from kerasdl.data.spec import located

__all__ = ["Dataset", "Folds", "Scaling", "Split", "check", "load", "located", "names", "with_class_weights"]
