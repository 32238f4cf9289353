"""audit: the host and its VMs against what is known to cost, as rules that are data.

Start reading at `rule.py` (what a rule is), then `facts.py` (what rules look at), `table.py` (all of them) and `report.py` (the
outcome). Each topic's file holds what its rules look for, and at its end the rules.
"""
