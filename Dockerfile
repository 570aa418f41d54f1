# Creel as an image:
#
#   docker build --tag creel:0.1.0 --build-arg REVISION=$(git rev-parse HEAD) .
#
# The second stage installs what the first has found the program to need. It holds no Docker engine and no PostgreSQL:
# DOCKER_HOST and DATABASE_URL name yours (compose.yaml, charts/creel).
#
# BASE is any Debian 12; BUILD_BASE the same, perhaps with a compiler cache; PRESET is one of CMakePresets.json.
ARG BASE=debian:bookworm-slim
ARG BUILD_BASE=${BASE}

FROM ${BUILD_BASE} AS build
WORKDIR /creel
COPY scripts/install-packages.sh scripts/packages.txt scripts/
RUN scripts/install-packages.sh build
COPY CMakeLists.txt CMakePresets.json ./
COPY controller controller
COPY reconciler reconciler
COPY api api
COPY templates templates
ARG PRESET=release
RUN cmake --preset ${PRESET} -DCREEL_TESTS=OFF -DCMAKE_INSTALL_PREFIX=/usr && cmake --build --preset ${PRESET} --target creel
RUN mkdir -p /image/usr/bin /image/usr/share/creel \
 && strip --strip-unneeded -o /image/usr/bin/creel build/${PRESET}/creel \
 && find templates -name '*.yaml' -exec cp --parents {} /image/usr/share/creel \; \
 && ldd /image/usr/bin/creel | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' \
    | while read -r library; do dpkg-query --search "*/$(basename "$(realpath "$library")")" || exit 1; done \
    | cut -d: -f1 | sort -u >/packages

FROM ${BASE}
COPY --from=build /packages /packages
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive xargs apt-get install --yes --no-install-recommends ca-certificates curl </packages \
 && rm -rf /packages /var/lib/apt/lists /var/cache/apt /var/log/* /usr/share/doc /usr/share/man \
 && groupadd --gid 10001 creel \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/creel --shell /usr/sbin/nologin creel \
 && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/creel \
 && find / -xdev -type f -perm /6000 -exec chmod ug-s {} +
COPY --from=build /image/ /

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Creel" \
      org.opencontainers.image.description="Keeps AI agent containers running on a Docker engine the way their owners asked" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV CREEL_LISTEN=0.0.0.0:8080 CREEL_GATEWAY_LISTEN=0.0.0.0:10000 CREEL_STATE_DIR=/var/lib/creel
USER 10001:10001
WORKDIR /var/lib/creel
VOLUME /var/lib/creel
EXPOSE 8080 10000
# That it serves; whether all that it needs answers is /readyz, which is no reason to start it anew.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD curl --silent --show-error --fail --insecure --noproxy '*' --output /dev/null \
      "http${CREEL_TLS_CERT:+s}://127.0.0.1:${CREEL_LISTEN##*:}/healthz"
ENTRYPOINT ["creel"]
CMD ["serve"]
