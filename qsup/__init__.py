"""qsup: a host daemon that supervises QEMU/KVM virtual machines directly.

Data flows one way: TOML file → Spec → Plan → argv → process + QMP + host → Observed → decide → actions.
Start reading at docs/architecture.md, then `spec/parse.py`, `plan/place.py`, `argv/build.py`, `reconcile/decide.py`.
"""

__version__ = "0.1.0"
