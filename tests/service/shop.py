"""The shop with more in stock than a campaign can sell: ``uvicorn --factory tests.service.shop:create``."""

from examples import checkout
from examples.service.app import create

checkout.STOCK["teapot"] = 1_000_000

__all__ = ["create"]
