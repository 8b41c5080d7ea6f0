"""The objects that every step uses: the deployment, staging, plans, lease keys, provenance. Steps belong to `chain`."""
