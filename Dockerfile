# Three images: what serves (`cpu`, `gpu`: no torch, no compiler, no pip, nothing that could download) and what imports, trains and
# evaluates (`tools`: torch for the CPU). Every package comes from deploy/image/requirements/, by version and hash (`make lock`).
#
#   docker build --target cpu --tag drlongformer-service:cpu .          `make image`; likewise gpu and tools (TARGET=)
#
# Elsewhere than at the public addresses: --build-arg PIP_INDEX_URL=..., --build-arg TORCH_WHEELS=... (a page or a mounted folder).

ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

# --- the base, without what only developers use -------------------------------------------------------------------------------

FROM ${PYTHON} AS root
COPY deploy/image/trim-root /tmp/
RUN groupadd --gid 10001 drlongformer && \
    useradd --uid 10001 --gid drlongformer --no-create-home --home-dir /tmp --shell /usr/sbin/nologin drlongformer && \
    sh /tmp/trim-root

# Copied into an empty image, so that what was taken out is in no layer.
FROM scratch AS base
COPY --from=root / /
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="drlongformer-service" \
      org.opencontainers.image.description="Long French clinical documents served from ONNX: fill-mask, embeddings, NER, classification" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11-slim-bookworm"
ENV PATH=/opt/drlongformer/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/drlongformer
ENTRYPOINT ["drlongformer"]

# --- wheels and environments: nothing below here but /opt/drlongformer and the bill of materials gets into an image ------------

FROM ${PYTHON} AS build
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_REQUIRE_HASHES=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY deploy/image/requirements requirements
RUN python -m venv --without-pip /opt/build && python -m venv --without-pip /opt/drlongformer && \
    pip --python /opt/build/bin/python install --only-binary :all: --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN PIP_REQUIRE_HASHES=0 pip --python /opt/build/bin/python wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels .
COPY deploy/image/trim-packages ./

FROM build AS environment-cpu
RUN pip --python /opt/drlongformer/bin/python install --no-deps --only-binary :all: --requirement requirements/cpu.txt
RUN PIP_REQUIRE_HASHES=0 pip --python /opt/drlongformer/bin/python install --no-deps --no-index /wheels/*.whl && \
    sh trim-packages /opt/drlongformer

FROM build AS environment-gpu
RUN pip --python /opt/drlongformer/bin/python install --no-deps --only-binary :all: --requirement requirements/gpu.txt
RUN PIP_REQUIRE_HASHES=0 pip --python /opt/drlongformer/bin/python install --no-deps --no-index /wheels/*.whl && \
    sh trim-packages /opt/drlongformer

FROM build AS environment-tools
ARG TORCH_WHEELS=https://download.pytorch.org/whl/cpu/torch/
# What comes as source alone is built with what was pinned, not with what pip would fetch.
RUN pip --python /opt/build/bin/python wheel --no-deps --no-build-isolation --wheel-dir /wheels --requirement requirements/sdist.txt
RUN pip --python /opt/drlongformer/bin/python install --no-deps --only-binary :all: --find-links "${TORCH_WHEELS}" \
        --requirement requirements/tools.txt
RUN PIP_REQUIRE_HASHES=0 pip --python /opt/drlongformer/bin/python install --no-deps --no-index /wheels/*.whl && \
    /opt/drlongformer/bin/python -m compileall -q -x /torch/testing/ --invalidation-mode unchecked-hash /opt/drlongformer/lib

# --- bills of materials: CycloneDX and a list of licences, made where pip is and looked at in the image -------------------------

FROM build AS bill
RUN python -m venv --without-pip /opt/bill && \
    pip --python /opt/bill/bin/python install --only-binary :all: --requirement requirements/sbom.txt
COPY deploy/image/bill.py ./
COPY --from=root /var/lib/dpkg/status /root-status
COPY model_store /model_store

FROM bill AS bill-cpu
COPY --from=environment-cpu /opt/drlongformer /opt/drlongformer
RUN /opt/bill/bin/python bill.py --environment /opt/drlongformer --dpkg /root-status --store /model_store --output /bill

FROM bill AS bill-gpu
COPY --from=environment-gpu /opt/drlongformer /opt/drlongformer
RUN /opt/bill/bin/python bill.py --environment /opt/drlongformer --dpkg /root-status --store /model_store --output /bill

FROM bill AS bill-tools
COPY --from=environment-tools /opt/drlongformer /opt/drlongformer
RUN /opt/bill/bin/python bill.py --environment /opt/drlongformer --dpkg /root-status --store /model_store --output /bill

# --- the images -----------------------------------------------------------------------------------------------------------------

# Bundles are written, so folders are mounted; without a network nothing is looked for on a hub.
FROM base AS tools
LABEL org.opencontainers.image.title="drlongformer-tools" \
      org.opencontainers.image.description="Imports, trains and evaluates the models that drlongformer-service serves"
COPY --from=environment-tools /opt/drlongformer /opt/drlongformer
COPY --from=bill-tools /bill /usr/share/doc/drlongformer
COPY model_store model_store
ENV HF_HOME=/tmp/huggingface HF_HUB_DISABLE_TELEMETRY=1 MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
HEALTHCHECK NONE
CMD ["--help"]

FROM base AS serving
# The address inside the container; who reaches it is decided by what is published.
ENV DRLONGFORMER_SERVER__HOST=0.0.0.0 \
    DRLONGFORMER_MODELS__STORE=/srv/drlongformer/model_store
COPY model_store model_store
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-ISc", \
    "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('DRLONGFORMER_SERVER__PORT', '8000')), timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
CMD ["serve"]

FROM serving AS gpu
ENV DRLONGFORMER_MODELS__DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=environment-gpu /opt/drlongformer /opt/drlongformer
COPY --from=bill-gpu /bill /usr/share/doc/drlongformer

FROM serving AS cpu
COPY --from=environment-cpu /opt/drlongformer /opt/drlongformer
COPY --from=bill-cpu /bill /usr/share/doc/drlongformer
