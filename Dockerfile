# One service process per container: the package with its runtime in /opt/drlongformer, the embedded model beside it, nothing to
# compile with, no torch. Targets: `cpu` (the last, so the default) and `gpu` (CUDA 13 libraries come with the Python packages).
#
#   docker build --target cpu --tag drlongformer-service:cpu .
#   docker build --target gpu --tag drlongformer-service:gpu .

ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
RUN python -m venv --without-pip /opt/drlongformer
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY service service

FROM build AS build-gpu
RUN pip --python /opt/drlongformer/bin/python install --no-cache-dir --constraint constraints.txt ".[gpu]"

FROM build AS build-cpu
RUN pip --python /opt/drlongformer/bin/python install --no-cache-dir --constraint constraints.txt ".[cpu]"

FROM ${PYTHON} AS runtime
LABEL org.opencontainers.image.title="drlongformer-service" \
      org.opencontainers.image.description="Long French clinical documents served from ONNX: fill-mask, embeddings, NER, classification" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
RUN groupadd --gid 10001 drlongformer && \
    useradd --uid 10001 --gid drlongformer --no-create-home --shell /usr/sbin/nologin drlongformer
# The address inside the container; who reaches it is decided by what is published.
ENV PATH=/opt/drlongformer/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DRLONGFORMER_SERVER__HOST=0.0.0.0 \
    DRLONGFORMER_MODELS__STORE=/srv/drlongformer/model_store
WORKDIR /srv/drlongformer
COPY model_store model_store
USER drlongformer
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["drlongformer"]
CMD ["serve"]

FROM runtime AS gpu
ENV DRLONGFORMER_MODELS__DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-gpu /opt/drlongformer /opt/drlongformer

FROM runtime AS cpu
COPY --from=build-cpu /opt/drlongformer /opt/drlongformer
