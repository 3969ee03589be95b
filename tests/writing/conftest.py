from __future__ import annotations

import pytest
from ngram import NgramEngine, trigram


@pytest.fixture(scope="session")
def engine() -> NgramEngine:
    return trigram()
