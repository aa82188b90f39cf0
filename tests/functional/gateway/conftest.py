from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cloud import Cloud


@pytest.fixture(scope="session")
def running_cloud() -> Iterator[Cloud]:
    made = Cloud()
    yield made
    made.close()


@pytest.fixture
def cloud(running_cloud: Cloud) -> Cloud:
    running_cloud.forget()
    return running_cloud
