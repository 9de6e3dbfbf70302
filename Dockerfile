# bids_decoder as a container.
#
#   docker build -t bids_decoder .
#   docker build -t bids_decoder:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#   docker build -t bids_decoder --build-arg TEMPLATES="MNI152NLin2009cAsym" .
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /opt/bids_decoder
ENV PATH=/opt/bids_decoder/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# What rarely changes comes first. The lock is complete, so nothing is resolved anew, and a file
# with another hash is refused.
COPY requirements.lock requirements.hashes.lock ./
RUN pip install --no-deps --require-hashes -r requirements.hashes.lock
# The index of PyTorch is asked for PyTorch alone (and for the CUDA libraries of its CUDA builds).
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --index-url "${TORCH_INDEX}" "$(grep '^torch==' requirements.lock)"
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY boilerplate boilerplate
COPY bids_decoder bids_decoder
COPY scripts/slim.sh ./
RUN pip install --no-deps --no-build-isolation . \
 && pip check \
 && sh slim.sh /opt/bids_decoder \
 && chmod -R a+rX /opt/bids_decoder

FROM build AS templates
# Importing the client makes a home that it need not write to later. Templates need the network.
ARG TEMPLATES=
ENV TEMPLATEFLOW_HOME=/opt/templateflow
COPY scripts/fetch_templates.py ./
RUN python fetch_templates.py ${TEMPLATES} \
 && chmod -R a+rX /opt/templateflow

FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 libgomp1 graphviz \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 --user-group bids
COPY --from=build /opt/bids_decoder /opt/bids_decoder
COPY --from=templates /opt/templateflow /opt/templateflow
# Nothing below needs a writable HOME, a network, or a known user. Threads are shared out by
# --nprocs and --omp-nthreads; libraries that are not asked shall not start more.
ENV PATH=/opt/bids_decoder/bin:$PATH \
    LANG=C.UTF-8 \
    TEMPLATEFLOW_HOME=/opt/templateflow \
    TEMPLATEFLOW_AUTOUPDATE=0 \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/tmp/cache \
    HF_HUB_OFFLINE=1 \
    NO_ET=1 \
    NIPYPE_NO_ET=1 \
    OMP_NUM_THREADS=1 \
    MKL_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1
ARG VERSION=0.1.0
ARG VCS_REF=unknown
ARG BUILD_DATE=unknown
RUN python -I -c 'import bids_decoder; print(bids_decoder.__version__)' > /version \
 && test "$(cat /version)" = "${VERSION}" \
 && python -I -m bids_decoder --version
# It goes into the dataset_description.json of the results.
ENV BIDS_DECODER_DOCKER_TAG=bids_decoder:${VERSION}
LABEL org.opencontainers.image.title="bids_decoder" \
      org.opencontainers.image.description="A BIDS-App that decodes what people saw or did from task fMRI" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${VCS_REF}" \
      org.opencontainers.image.created="${BUILD_DATE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.label-schema.schema-version="1.0" \
      org.label-schema.name="bids_decoder" \
      org.label-schema.description="A BIDS-App that decodes what people saw or did from task fMRI" \
      org.label-schema.version="${VERSION}" \
      org.label-schema.vcs-ref="${VCS_REF}" \
      org.label-schema.build-date="${BUILD_DATE}"
USER 1000:1000
WORKDIR /tmp
# -I: a PYTHONPATH or ~/.local of the host, which Apptainer lets in, must not shadow the image.
ENTRYPOINT ["/opt/bids_decoder/bin/python", "-I", "-m", "bids_decoder"]
CMD ["--help"]
