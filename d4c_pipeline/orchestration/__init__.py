"""Everything that uses Dagster: components, assets, checks, resources, jobs, sensors, schedules, webserver.

Assets are thin: they open the deployment, call one step of the `chain` and show its result. Steps belong to the chain
and the rooms below. Only this room and `definitions.py` import dagster.
"""
