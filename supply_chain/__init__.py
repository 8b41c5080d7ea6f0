"""Tools that know what the platform is built from: its locked packages and the images of its containers.

Here belong the bill of materials (`make sbom`), the audit for known vulnerabilities (`make audit`) and the pins of
images (`make pins`). They run at a desk and in CI, never in a pipeline: nothing in `d4c_pipeline` imports them. They
read files of this repository, and only `pins` reaches a registry, through the container tool that is installed.
"""
