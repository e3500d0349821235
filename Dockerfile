# The processes of the pipeline; docker-compose.yml and deploy/kubernetes choose the process of each container.
#
# The base image and all packages are pinned by hashes. `make lock` writes both lock files.
# Another base: docker build --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.lock requirements.image.lock ./
RUN python -m venv tools && tools/bin/pip install --require-hashes --requirement requirements.lock
RUN python -m venv --without-pip /opt/im && \
    tools/bin/pip --python /opt/im/bin/python install --require-hashes --requirement requirements.image.lock
COPY . .
RUN tools/bin/hatchling build --target wheel
RUN tools/bin/pip --python /opt/im/bin/python install --no-deps dist/*.whl

FROM ${PYTHON_IMAGE}
# The image has no tool that installs packages.
RUN pip uninstall --yes --root-user-action=ignore setuptools wheel pip
COPY --from=build /opt/im /opt/im
# 10001 is a user without a name and without rights on the machine. Kubernetes checks `runAsNonRoot` by the number.
RUN install --directory --owner=10001 --group=10001 --mode=700 /var/lib/im /var/lib/im-secret
ENV PATH=/opt/im/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/var/lib/im IM_HOME=/var/lib/im IM_LOG_FORMAT=json
WORKDIR /var/lib/im
USER 10001:10001
# Processes write below IM_HOME only, so all other files may be read-only.
VOLUME ["/var/lib/im", "/var/lib/im-secret"]
STOPSIGNAL SIGTERM
CMD ["im", "--help"]
