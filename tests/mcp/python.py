"""The official client for Python, told by lines of JSON what to do; lines of JSON answer.

It validates structured content against the output schema by itself and raises where it does not fit.
"""

import json
import sys
from contextlib import AsyncExitStack

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult, PromptReference, ResourceTemplateReference

told = anyio.wrap_file(sys.stdin)


def say(**what):
    print(json.dumps(what), flush=True)


async def ask(_, params):
    say(asks=params.message)
    return ElicitResult(**json.loads(await told.readline()))


async def transport(stack, server):
    if "url" not in server:
        return StdioServerParameters(**server)
    headers = {"Authorization": f"Bearer {server['token']}"}
    http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=30))
    return streamable_http_client(server["url"], http_client=http)


async def main(server):
    async with AsyncExitStack() as stack:
        target = await transport(stack, server)
        client = await stack.enter_async_context(Client(target, elicitation_callback=ask))
        watched = []

        async def version():
            return client.protocol_version

        async def complete(ref, name, value):
            kind = PromptReference if ref["type"] == "ref/prompt" else ResourceTemplateReference
            return await client.complete(kind(**ref), {"name": name, "value": value})

        async def watch(uri):
            watched.append(await stack.enter_async_context(client.listen(resource_subscriptions=[uri])))

        async def change():
            return (await anext(aiter(watched[0]))).uri

        verbs = {
            "version": version,
            "tools": client.list_tools,
            "call": client.call_tool,
            "resources": client.list_resources,
            "templates": client.list_resource_templates,
            "read": client.read_resource,
            "prompts": client.list_prompts,
            "prompt": client.get_prompt,
            "complete": complete,
            "watch": watch,
            "change": change,
        }
        while line := await told.readline():
            verb, *arguments = json.loads(line)
            try:
                answer = await verbs[verb](*arguments)
                if hasattr(answer, "model_dump"):
                    answer = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
            except MCPError as error:
                answer = {"code": error.code, "message": error.message}
            say(does=answer)


anyio.run(main, json.loads(sys.argv[1]))
