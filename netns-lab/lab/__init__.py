"""The laboratory of gkmd: hosts from network namespaces, real daemons, captures, a stranger's ESP, verdicts.

A scenario uses ``Lab`` (``lab.scenario``) and what it hands out. Nothing here imports gkmd, except
``keying``, which configures, starts and asks the daemons.
"""
