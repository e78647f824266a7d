"""The laboratory of gkmd: hosts from network namespaces, real daemons, captures, a stranger's ESP, verdicts.

A scenario uses ``Lab`` (``lab.scenario``) and what it hands out; nothing here imports gkmd.
"""
