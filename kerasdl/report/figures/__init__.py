"""The figures of a report: matplotlib's object-oriented interface with the Agg canvas, no state between them."""
