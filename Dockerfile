# The image that server.json names. It is started as `docker run -i --rm …` with the arguments there.
FROM rust:1-slim-trixie AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin ipfs-accelerate

FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/ipfs-accelerate /usr/local/bin/
# Who publishes in the registry proves with it that the image is theirs.
LABEL io.modelcontextprotocol.server.name="io.github.ipfs-accelerate/runner-kit"
ENV XDG_STATE_HOME=/var/lib
ENTRYPOINT ["ipfs-accelerate"]
