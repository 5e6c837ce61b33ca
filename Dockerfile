# Laycan's one image: operator, agent and command line. docs/image.md says why it is made so, and how to put it on another base.
#
# BUILDER  a Debian (or an image with Python) in which things are built; nothing of it reaches the image but what is copied
# BASE     what the image stands on: `debian-root`, made below of a few Debian packages, or any glibc image with the interpreter PYTHON
# PYTHON   the interpreter's path, the same one in BUILDER and BASE
ARG BUILDER=docker.io/library/debian:bookworm-slim
ARG BASE=debian-root
ARG PYTHON=/usr/bin/python3.11

FROM ${BUILDER} AS builder
ARG PYTHON
RUN [ -x "$PYTHON" ] || { apt-get update && apt-get install -y --no-install-recommends python3-venv ca-certificates; }

# What BASE is by default: Python's packages of Debian and what they link to, without shell, package manager or documentation.
FROM builder AS debian
COPY image/debian.txt image/debian-root.sh /image/
RUN sh /image/debian-root.sh /image/debian.txt /debian-root

FROM scratch AS debian-root
COPY --from=debian /debian-root /

# The packages that Laycan needs to run, by their hashes, as wheels: nothing is compiled, and no package's code runs here.
FROM builder AS packages
ARG PYTHON
COPY image/build.lock image/runtime.lock /image/
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if [ -s /run/ca.crt ]; then export SSL_CERT_FILE=/run/ca.crt PIP_CERT=/run/ca.crt; fi; \
    "$PYTHON" -m venv /build && /build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /image/build.lock && \
    /build/bin/uv venv --no-cache --python "$PYTHON" /opt/laycan && \
    /build/bin/uv pip install --no-cache --require-hashes --no-deps --only-binary :all: --python /opt/laycan -r /image/runtime.lock
# Without what Laycan does not use, the packages' own commands among it. Bytecode is made now, since the root is read-only later; it names its source by
# content, and files bear no time of their own: until a package changes, releases share this layer.
COPY image/unused.txt /image/
RUN find /opt/laycan/bin ! -type d ! -name 'python*' -delete && rm -f /opt/laycan/.lock && \
    cd /opt/laycan/lib/python3*/site-packages && rm -r $(sed 's/#.*//' /image/unused.txt) && \
    /opt/laycan/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/laycan/lib && \
    find /opt/laycan -exec touch -h -d @0 {} +

# Laycan itself: the wheel, laid out under /code as it will lie under /.
FROM packages AS code
ARG SOURCE_DATE_EPOCH=0
COPY pyproject.toml README.md LICENSE /source/
COPY operator /source/operator
COPY solver /source/solver
RUN cd /source && /build/bin/hatchling build -t wheel -d /wheel && \
    site=/code$(/opt/laycan/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
    /build/bin/uv pip install --no-cache --no-deps --no-index --find-links /wheel --python /opt/laycan --target "$site" laycan && \
    mv "$site/bin" /code/opt/laycan/bin && rm -f "$site/.lock" && \
    rm "$site"/laycan-*.dist-info/uv_cache.json && sed -i '/uv_cache.json/d' "$site"/laycan-*.dist-info/RECORD && \
    /opt/laycan/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /code "$site" && \
    find /code -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# Ends the build where BASE does not carry it: another Python, a library or a file that is missing.
FROM ${BASE} AS tried
COPY --from=packages /opt/laycan /opt/laycan
COPY --from=code /code /code
COPY image/try.py /code/
USER 65532:65532
RUN ["/opt/laycan/bin/python", "-B", "/code/try.py", "/code/opt/laycan/lib/python3*/site-packages"]

FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Laycan" \
      org.opencontainers.image.description="The delivery office of physical compute forwards: operator, agent and command line" \
      org.opencontainers.image.url="https://laycan.dev" \
      org.opencontainers.image.source="https://github.com/laycan/laycan" \
      org.opencontainers.image.documentation="https://github.com/laycan/laycan/blob/main/docs/image.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=tried /opt/laycan /opt/laycan
COPY --from=code /code /
ENV PATH=/opt/laycan/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
# The chart says which: `laycan operator`, `laycan agent`, `laycan release`. There is no entry point, so that a pod that only holds GPUs can use it too.
CMD ["laycan", "--help"]
