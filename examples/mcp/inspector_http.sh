#!/bin/sh
# Opens the MCP Inspector (version 2) on a service that was started with --http. Words after the
# command's name are passed on, such as `--method tools/list` behind `--cli`. The token comes from
# the environment, or from the file that the service made; it is not shown in the process list.
set -eu
state=${XDG_STATE_HOME:-$HOME/.local/state}
token=${RUNNER_KIT_HTTP_TOKEN:-$(cat "$state/ipfs-accelerate/http-token")}
exec npx @modelcontextprotocol/inspector "$@" --config /dev/stdin --server runners <<END
{
  "mcpServers": {
    "runners": {
      "type": "streamable-http",
      "url": "http://127.0.0.1:8080/mcp",
      "headers": { "Authorization": "Bearer $token" }
    }
  }
}
END
