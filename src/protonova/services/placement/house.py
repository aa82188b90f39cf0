"""The parts of a placement process, wired once."""

from __future__ import annotations

import threading

from protonova.services.placement import migrations, options, tables
from protonova.services.placement.claims.change import Holder
from protonova.services.placement.claims.combiner import Combiner
from protonova.services.placement.claims.reshape import Reshaper
from protonova.services.placement.custom_names import CustomNames
from protonova.services.placement.index.search import Settings
from protonova.services.placement.inventories import Inventories
from protonova.services.placement.listing import Listing
from protonova.services.placement.mirror import Mirror
from protonova.services.placement.names import Vocabulary
from protonova.services.placement.providers import Providers
from protonova.services.placement.qualities import Qualities
from protonova.services.placement.usages import Usages
from protonova.services.runtime import migration, telemetry
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database


class House:
    """Everything the servicers stand on. `stopping` is set when the process ends its streams."""

    def __init__(self, conf: Conf, stopping: threading.Event) -> None:
        own = conf[options.GROUP]
        self.stopping = stopping
        self.db = Database.of(conf.placement_database, metadata=tables.metadata)
        if conf.placement_database.sync_on_startup:
            migration.upgrade(self.db, migrations)
        self.vocabulary = Vocabulary(self.db)
        self.vocabulary.synchronize()
        self.mirror = Mirror(self.db, self.vocabulary)
        attempts = own.allocation_conflict_retry_count
        self.combiner = Combiner(self.db, self.vocabulary, self.mirror.adopt, attempts=attempts)
        self.reshaper = Reshaper(self.db, self.vocabulary, attempts=attempts)
        self.providers = Providers(self.db)
        self.inventories = Inventories(self.db, self.vocabulary)
        self.qualities = Qualities(self.db, self.vocabulary)
        self.usages = Usages(self.db, self.vocabulary)
        self.listing = Listing(self.db, self.vocabulary)
        self.custom_names = CustomNames(self.db, self.vocabulary)
        self.nobody = Holder(own.incomplete_consumer_project_id, own.incomplete_consumer_user_id)
        self.search_settings = Settings(
            randomize=own.randomize_allocation_candidates,
            take_turns=own.allocation_candidates_generation_strategy == "breadth-first",
            most=max(own.max_allocation_candidates, 0),
        )

    def start(self) -> None:
        self.mirror.start()
        telemetry.report("placement", self._describe)

    def _describe(self) -> str:
        return f"{len(self.mirror.index)} providers in the index; database {self.db.describe()}"

    def stop(self) -> None:
        telemetry.forget_report("placement")
        self.mirror.stop()
        self.db.close()
