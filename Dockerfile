# Two images of one program:
#   docker build .                    what server.json names, started as `docker run -i --rm …`
#   docker build --target service .   the service; examples/compose.yaml runs it
FROM rust:1-slim-trixie AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin ipfs-accelerate

FROM debian:trixie-slim AS program
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/ipfs-accelerate /usr/local/bin/
LABEL org.opencontainers.image.title="ipfs-accelerate" \
      org.opencontainers.image.description="Autoscaler for GitHub Actions self-hosted runners on Docker hosts" \
      org.opencontainers.image.source="https://github.com/ipfs-accelerate/runner-kit" \
      org.opencontainers.image.licenses="AGPL-3.0-or-later"
ENV XDG_STATE_HOME=/var/lib
# The end that the program makes of itself in peace.
STOPSIGNAL SIGTERM
ENTRYPOINT ["ipfs-accelerate"]

FROM program AS service
# Not root; who runs it adds the group of the engine's socket (`--group-add`). A volume for the state
# takes its owner from this directory.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/ipfs-accelerate runners \
    && install -d -m 0700 -o runners -g runners /var/lib/ipfs-accelerate
USER 10001:10001
ENV RUNNER_KIT_LOG_FORMAT=json
# The loop lives; what it sees of Docker and GitHub is told by /readyz, and no reason to start anew.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /healthz HTTP/1.0\\r\\nHost: localhost:8080\\r\\n\\r\\n' >&3 && head -1 <&3 | grep -q ' 200 '"]
CMD ["runner", "start", "--keep-trying", "--http"]

FROM program
# Who publishes in the registry proves with it that the image is theirs.
LABEL io.modelcontextprotocol.server.name="io.github.ipfs-accelerate/runner-kit"
