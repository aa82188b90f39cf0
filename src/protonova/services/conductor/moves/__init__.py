"""Migrations: the records of servers on their way from one host to another."""
