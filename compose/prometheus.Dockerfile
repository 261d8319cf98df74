# Prometheus from Debian's package, for machines that no registry answers; see compose.debian.yaml.
ARG BASE=onejob-base:bookworm
FROM ${BASE}
COPY packages /usr/local/bin/packages
COPY given/debs/prometheus /tmp/debs
RUN packages /tmp/debs prometheus && rm -r /tmp/debs && install -d -o nobody -g nogroup /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
LABEL org.opencontainers.image.title="Prometheus, Debian's package" \
      org.opencontainers.image.licenses="Apache-2.0"
