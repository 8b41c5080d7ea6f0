"""Everything that knows Dagster: the component, assets, checks, resources, jobs and the failure rules.

Assets here are thin: they open the deployment, call one step of the `chain`, and show its result. What a step does
belongs to the chain and the rooms, and nothing below this room imports dagster.
"""
