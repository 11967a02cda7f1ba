# One image for server and workers: the binary holds everything. Plain Dockerfile syntax, so that an engine without BuildKit
# builds it too.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin trainyard && strip target/release/trainyard

FROM ${BASE_IMAGE}
# Not root; the data folder belongs to this user, so that a fresh named volume does too.
RUN groupadd --gid 10001 trainyard \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin trainyard \
    && mkdir -p /data /cache \
    && chown trainyard:trainyard /data /cache
COPY --from=build /src/target/release/trainyard /usr/local/bin/trainyard
USER trainyard
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["trainyard"]
CMD ["server", "--data-dir", "/data", "--listen", "0.0.0.0:8080"]
