# attnlab with everything it needs to train.
#
#   docker build -t attnlab .                                        # CPU
#   docker build -t attnlab:cuda --build-arg TORCH=cu128 .           # NVIDIA GPU: docker run --gpus all
#   docker run --rm attnlab predict zoo/dates "3 May 2021"
#   docker run --rm -v "$PWD":/work attnlab train experiment=reviews
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# Which build of torch: cpu, or that of a CUDA version, as in the addresses of PyTorch's index.
ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# A compiler: the kernels in C are compiled where they run. git: runs record the commit.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev git \
    && rm -rf /var/lib/apt/lists/*
RUN pip install "torch>=2.10,<2.14" --index-url https://download.pytorch.org/whl/${TORCH}

COPY . /src
RUN pip install "/src[sweep,files,hub,sound,hf]" && rm -rf /src

RUN useradd --create-home attnlab && mkdir /work && chown attnlab /work
USER attnlab
WORKDIR /work
ENTRYPOINT ["attnlab"]
CMD ["--help"]
