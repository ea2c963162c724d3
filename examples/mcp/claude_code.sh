#!/bin/sh
# Makes the runners known to Claude Code, for this user in all projects. Words after the command's
# name are passed on: `claude_code.sh --read-only` offers only the tools that change nothing.
set -eu
exec claude mcp add --scope user runners -- ipfs-accelerate mcp start "$@"
