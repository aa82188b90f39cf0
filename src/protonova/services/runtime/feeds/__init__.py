"""Feeds: how anyone learns of every committed change, in order, from the owner of the facts.

A topic is a set of keys. The owner publishes which keys changed in the transaction that changes them;
watchers get a snapshot and then what changes, and may resume from the last revision they saw. Values are read
when they are sent, so a watcher that lags sees the newest state of a key once instead of every state in
between.
"""

from protonova.services.runtime.feeds.follow import Follower, follow
from protonova.services.runtime.feeds.publish import FeedTables, publish, tables
from protonova.services.runtime.feeds.watch import Change, Feed, SnapshotEnd, Whole

__all__ = ["Change", "Feed", "FeedTables", "Follower", "SnapshotEnd", "Whole", "follow", "publish", "tables"]
