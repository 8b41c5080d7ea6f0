"""What every step works on: the deployment, staging, plans, lease keys, provenance. Steps belong to `chain`."""
