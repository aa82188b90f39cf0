"""One module per command of ``protonova``; each is imported when it is called."""
