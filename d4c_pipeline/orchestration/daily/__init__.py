"""Daily jobs: the assets and checks that maintain published releases, and their schedules."""
