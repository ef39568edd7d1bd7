# Training and serving on CPUs, as Amazon SageMaker calls an image: `train` and `serve`.
#
#     docker build -t smalgos .
#     docker run -e SMALGOS_ALGORITHM=linear-learner -v "$PWD/job:/opt/ml" smalgos train
#     docker run --read-only --tmpfs /tmp -p 8080:8080 -v "$PWD/job:/opt/ml:ro" smalgos serve
#
# It runs as any user, on a root that cannot be written to. Build it on a processor with AVX-512:
# then the kernels for those without are compiled, too.
FROM python:3.13-slim

LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      com.amazonaws.sagemaker.capabilities.multi-models=true

# All that the image adds lies below one folder.
ENV PREFIX=/opt/smalgos
ENV PATH=$PREFIX/bin:$PATH \
    NUMBA_CACHE_DIR=$PREFIX/kernels \
    OMP_WAIT_POLICY=passive \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp

COPY . /src
WORKDIR /src
RUN python3 -m venv "$PREFIX" && "$PREFIX/bin/pip" install --no-cache-dir '.[serve]'

# Names that nobody wants on a machine of their own, so the package does not bring them.
RUN for command in train serve; do \
        printf '#!/bin/sh\nexec smalgos container %s "$@"\n' $command > "$PREFIX/bin/$command" \
        && chmod a+x "$PREFIX/bin/$command"; \
    done

WORKDIR /tmp
RUN smalgos warmup \
    && if grep -q avx512f /proc/cpuinfo; then \
        NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES= smalgos warmup; \
    fi \
    && chmod -R a+rX "$PREFIX"

EXPOSE 8080
USER 1000:1000
CMD ["serve"]
