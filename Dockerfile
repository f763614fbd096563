# One image per program, from one build: `docker build --target api .` and `docker build --target worker .`
# (`docker compose build` makes both). `--target demo` has the programs of the demo.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src

# The dependencies, in a layer that only a manifest or the lock file outdates. Cargo gets the manifests and, for our own
# crates, empty sources. What it made of those is cleaned away again: BuildKit keeps the files' own times, so sources
# older than this layer would otherwise pass for the ones that it has just compiled.
COPY Cargo.toml Cargo.lock ./
COPY api/Cargo.toml api/
COPY bench/Cargo.toml bench/
COPY examples/Cargo.toml examples/
COPY shared/Cargo.toml shared/
COPY tests/Cargo.toml tests/
COPY worker/Cargo.toml worker/
COPY xtask/Cargo.toml xtask/
RUN set -eu; \
    for member in api bench examples shared tests worker xtask; do \
        mkdir "$member/src"; \
        echo '//! Empty.' > "$member/src/lib.rs"; \
    done; \
    for program in api worker; do \
        echo '//! Empty.' > "$program/src/main.rs"; \
        echo 'fn main() {}' >> "$program/src/main.rs"; \
    done; \
    cargo build --release --locked --package orders-api --package orders-worker; \
    cargo clean --release --frozen --package orders-api --package orders-shared --package orders-worker; \
    rm -r api/src shared/src worker/src

# Our code. `--frozen` as all that it needs from the registry is there: whatever a lock file would have to change, or a
# layer above forgot, fails here instead of being fetched again for each build.
COPY migrations migrations
COPY docs docs
COPY shared shared
COPY api api
COPY worker worker
ARG REVISION=unknown
RUN ORDERS_REVISION="$REVISION" cargo build --release --frozen --package orders-api --package orders-worker


# Behind the programs, which are the same whether the demo is built or not.
FROM build AS build-demo
COPY examples examples
RUN cargo build --release --locked --package orders-examples --bin fulfilment_service --bin trickle


FROM debian:bookworm-slim AS runtime
# A number, as Kubernetes' runAsNonRoot cannot tell whether a name is root. Nothing in the image belongs to it.
USER 10001:10001
LABEL org.opencontainers.image.vendor="Orders" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.base.name="debian:bookworm-slim"


FROM runtime AS worker
COPY --from=build /src/target/release/orders-worker /usr/local/bin/
# Health and metrics, and wake-ups.
EXPOSE 9100 9100/udp
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["orders-worker", "healthcheck"]
ENTRYPOINT ["orders-worker"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="orders-worker" \
      org.opencontainers.image.description="Claims orders from MySQL and processes them" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"


FROM runtime AS demo
COPY --from=build-demo /src/target/release/fulfilment_service /src/target/release/trickle /usr/local/bin/
LABEL org.opencontainers.image.title="orders-demo" \
      org.opencontainers.image.description="Places orders, and fulfils those that a worker pushes to it"


# Last, so that it is also what a build without a target makes.
FROM runtime AS api
COPY --from=build /src/target/release/orders-api /usr/local/bin/
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["orders-api", "healthcheck"]
ENTRYPOINT ["orders-api"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="orders-api" \
      org.opencontainers.image.description="Takes orders over HTTP and keeps them in MySQL" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
