"""Submissions in Dagster: the sensor starts an assessment, the asset shows it, a job decides."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import dagster as dg

from d4c_pipeline.appraisal import quarantine
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.submission import SubmissionState
from d4c_pipeline.orchestration.appraising import ASSESSMENT_JOB, appraisal_definitions, decision_job
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline_tests.support.submitted import submission


def test_a_submission_is_assessed_by_a_run_and_declined_by_a_job(tmp_path: Path) -> None:
    resources = {"deployment": DeploymentResource(home=str(tmp_path))}
    with closing(Ledger.in_folder(tmp_path)) as ledger, dg.DagsterInstance.ephemeral() as instance:
        number = ledger.submissions.add(submission(title="<b>Trees</b> [x](http://y)", sources=None, upload=True))[0].id
        (quarantine.upload_folder(tmp_path, number) / "trees.csv").write_bytes(b"a,b\n1,2\n")
        made = dg.Definitions.merge(appraisal_definitions(), dg.Definitions(resources=resources))
        sensors = {each.name: each for each in made.sensors or ()}
        sensor = sensors["submissions_are_assessed"]
        assert isinstance(sensor, dg.SensorDefinition)

        def tick() -> list[dg.RunRequest]:
            with dg.build_sensor_context(instance=instance, resources=resources) as context:
                return list(sensor.evaluate_tick(context).run_requests or ())

        assert tick() == []  # its submitter may still upload files
        ledger.submissions.complete_files(number)
        (request,) = tick()
        assert request.run_key is not None
        assert request.run_key.startswith(f"{number}-submitted-2-")
        done = made.get_job_def(ASSESSMENT_JOB).execute_in_process(request.run_config, instance)
        (event,) = done.get_asset_materialization_events()
        metadata = event.step_materialization_data.materialization.metadata
        assert metadata["count"].value == 1
        assert "&lt;b&gt;Trees&lt;/b&gt; \\[x\\]\\(http://y\\)" in str(metadata["table"].value)
        assert ledger.submissions.get(number).state is SubmissionState.IN_APPRAISAL
        assert tick() == []
        with dg.build_sensor_context(instance=instance, resources=resources) as context:
            told = sensors["submitters_are_told"].evaluate_tick(context)
        assert told.skip_message == "0 published, 0 notices sent, 0 failed"
        config = {"submission": number, "decision": "decline", "reason": "no city"}
        run_config = {"ops": {"decide_on_submission": {"config": config}}}
        assert decision_job.execute_in_process(run_config, instance, resources=resources).success
        assert ledger.submissions.events(number)[-1].reason == "no city"
        again = {"ops": {"decide_on_submission": {"config": {**config, "decision": "accept"}}}}
        assert not decision_job.execute_in_process(again, instance, resources=resources, raise_on_error=False).success
        assert ledger.submissions.get(number).state is SubmissionState.DECLINED
