# Redis from Debian's package, for machines that no registry answers; see compose.debian.yaml.
ARG BASE=onejob-base:bookworm
FROM ${BASE}
COPY packages /usr/local/bin/packages
COPY given/debs/redis /tmp/debs
RUN packages /tmp/debs redis-server && rm -r /tmp/debs && install -d -o redis -g redis /data
USER redis
CMD ["redis-server"]
LABEL org.opencontainers.image.title="Redis, Debian's package" \
      org.opencontainers.image.licenses="BSD-3-Clause"
