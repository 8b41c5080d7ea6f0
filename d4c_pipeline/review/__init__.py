"""Verdicts of checks, the review policy and the decisions of reviewers."""
