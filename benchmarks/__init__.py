"""This package against the published client, on the same simulator in the same run: `python -m benchmarks`.

Contenders run in processes of their own and take turns, so that a machine whose speed drifts is fair to both. What is
printed are medians and their ratio.
"""
