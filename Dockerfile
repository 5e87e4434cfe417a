# The engine as a small image: one static-ish binary, no shell, not root.
#
#   docker build -t a4co .
#   docker run --read-only -p 127.0.0.1:3004:3004 -v a4co-data:/data a4co
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p a4co && mkdir /empty

# glibc and CA certificates, nothing else; its user `nonroot` is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/a4co /usr/local/bin/a4co
# A named volume takes over the owner of the folder that it covers.
COPY --from=build --chown=65532:65532 /empty /data
# Inside a container only its own network can reach it; publish the port to loopback, as above,
# or behind what authenticates: the API has no authentication of its own.
ENV A4CO_LISTEN=0.0.0.0:3004 A4CO_DATA_DIR=/data A4CO_LOG_FORMAT=json
EXPOSE 3004
VOLUME /data
# There is no shell and no curl: the binary asks itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["/usr/local/bin/a4co", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/a4co"]
CMD ["serve"]
