"""An operator who looks at the pipeline over HTTP."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

from aiohttp import ClientSession

from gateway.http.tokens import issue_token
from schemas.settings import Settings
from tests.support.waiting import until

OPERATOR: Final = "olga"
PATIENCE: Final = 180.0


class Operator:
    """A person who looks at the pipeline of a deployment.

    Attributes:
        text: The last answer.
        seen: The last answer, decoded.
    """

    def __init__(self, settings: Settings, address: str, http: ClientSession) -> None:
        token = issue_token(settings, OPERATOR, timedelta(minutes=10))
        self._headers = {"Authorization": f"Bearer {token}"}
        self._url = f"{address}/v1/pipeline"
        self._http = http
        self.text = ""
        self.seen: dict[str, Any] = {}

    async def look(self, points: int = 0) -> dict[str, Any]:
        """The present answer."""
        url = f"{self._url}?points={points}"
        async with self._http.get(url, headers=self._headers) as response:
            assert response.status == 200
            self.text = await response.text()
        self.seen = json.loads(self.text)
        return self.seen

    async def until_lags(self, **lags: int) -> None:
        """Looks until the stages have these lags."""

        async def as_expected() -> bool:
            await self.look()
            found = {name.replace("-", "_"): each["lag"] for name, each in self.stages.items()}
            return lags.items() <= found.items()

        await until(as_expected, PATIENCE)

    async def until_trouble(self, *, is_told: bool) -> None:
        """Looks until the answer has a trouble, or none. Each answer arrives in time."""

        async def as_expected() -> bool:
            return ((await self.look())["trouble"] is not None) is is_told

        await until(as_expected, PATIENCE)

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The stages of the last answer."""
        return {stage["name"]: stage for stage in self.seen["stages"]}
