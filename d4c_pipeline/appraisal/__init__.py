"""How a dataset comes in: submissions, the appraisal policy, assessments and decisions."""
