"""What CreateServers takes before it answers: everything a request names is looked up and checked, and what comes
of it is one plan, written in one transaction."""
