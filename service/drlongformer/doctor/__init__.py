"""What `drlongformer doctor` looks at: the installation, the machine, the bundles; and what would make the service faster.

installed.py   what is there, and whether every bundle computes on the device that was asked for
facts.py       the machine and the choices as numbers and names, read from /proc, /sys, the settings and the manifests
cgroups.py     what a container may use, from its control groups
advice.py      facts -> advices, pure; one rule a function, and a table of them
"""

from drlongformer.doctor.advice import Advice, advices
from drlongformer.doctor.facts import Facts, facts
from drlongformer.doctor.installed import Finding, findings, models, served

__all__ = ["Advice", "Facts", "Finding", "advices", "facts", "findings", "models", "served"]
