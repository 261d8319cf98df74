# nginx from Debian's package, for machines that no registry answers; see compose.debian.yaml.
ARG BASE=onejob-base:bookworm
FROM ${BASE}
COPY packages /usr/local/bin/packages
COPY given/debs/nginx /tmp/debs
RUN packages /tmp/debs nginx wget && rm -r /tmp/debs
USER www-data
CMD ["nginx", "-g", "daemon off;"]
LABEL org.opencontainers.image.title="nginx, Debian's package" \
      org.opencontainers.image.licenses="BSD-2-Clause"
