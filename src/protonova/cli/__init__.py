"""The operator's ``protonova`` command: starts, watches and stops a cloud on one machine."""
