"""The official client for Python, told by lines of JSON what to do; one line of JSON each answers.

It validates structured content against the output schema by itself and raises where it does not fit.
"""

import json
import sys
from contextlib import AsyncExitStack

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


def plain(result):
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main(server):
    async with AsyncExitStack() as stack:
        if "url" in server:
            headers = {"Authorization": f"Bearer {server['token']}"}
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=30))
            target = streamable_http_client(server["url"], http_client=http)
        else:
            target = StdioServerParameters(**server)
        client = await stack.enter_async_context(Client(target))

        async def version():
            return client.protocol_version

        verbs = {"version": version, "tools": client.list_tools, "call": client.call_tool}
        async for line in anyio.wrap_file(sys.stdin):
            verb, *arguments = json.loads(line)
            try:
                answer = await verbs[verb](*arguments)
                answer = plain(answer) if hasattr(answer, "model_dump") else answer
            except MCPError as error:
                answer = {"code": error.code, "message": error.message}
            print(json.dumps(answer), flush=True)


anyio.run(main, json.loads(sys.argv[1]))
