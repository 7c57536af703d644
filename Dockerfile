# An image of PYROS; see docs/operations.md. The observatory's folder, which pyros init makes, is mounted at /observatory.
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
RUN wheel="$(echo /wheels/*.whl)" \
    && pip install --no-cache-dir --constraint /wheels/constraints.txt "$wheel[console,kafka,notify,stars,tls]" \
    && useradd --uid 1000 --create-home pyros \
    && install --directory --owner=pyros /observatory
USER pyros
WORKDIR /observatory
# Where authors send, where subscribers connect, and the console.
EXPOSE 8098 8099 8080
# A dome closes, and a mount parks, before it is left: compose.yaml gives it the time.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s CMD ["pyros", "doctor", "agents.running"]
ENTRYPOINT ["pyros"]
CMD ["run"]
