"""A web application around a runtime; SIGNALS=no leaves signals to the server alone."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from awaitly import Ok, Runtime
from awaitly.errors import ShuttingDown
from awaitly.serve import app as health
from tests.signals.work import FLOWS, say

logging.basicConfig(level=logging.INFO)
runtime = Runtime(store="runs.db", workflows=[*FLOWS.values()])


@asynccontextmanager
async def lifespan(site: FastAPI) -> AsyncIterator[None]:
    async with runtime:
        if os.environ.get("SIGNALS") != "no":
            runtime.install_signals()
        yield
    say("left")


app = FastAPI(lifespan=lifespan)


@app.exception_handler(ShuttingDown)
async def unavailable(request: Request, error: ShuttingDown) -> JSONResponse:
    return JSONResponse({"error": error.code}, 503, {"Retry-After": "1"})


@app.post("/run/{name}/{argument}")
async def run(name: str, argument: str) -> str:
    result = await runtime.run(FLOWS[name], argument)
    return result.value if isinstance(result, Ok) else "failed"


@app.post("/start/{name}/{argument}")
async def start(name: str, argument: str) -> str:
    return (await runtime.start(FLOWS[name], argument)).id


app.mount("/", health(runtime))
