# The pipeline's processes; docker-compose.yml selects the process of each container.
FROM python:3.11-slim

WORKDIR /opt/im
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

RUN useradd --create-home im && install --directory --owner=im --mode=700 /var/lib/im /var/lib/im-secret
USER im
VOLUME /var/lib/im
