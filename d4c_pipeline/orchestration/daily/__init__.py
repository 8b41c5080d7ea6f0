"""Assets and checks of the daily schedule, which keep published releases whole."""
