"""FastAPI that does no work, on the server and event loop of the gateway: the yardstick.

`python load_bare_app.py PORT`
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI


def bare_app() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def get_root() -> dict[str, bool]:
        return {"ok": True}

    return app


if __name__ == "__main__":
    uvicorn.run(
        bare_app(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
