# The web page of a model, on a CPU:
#
#     docker build -t glowkit .
#     docker run --rm -p 127.0.0.1:7860:7860 glowkit
#     docker run --rm -p 127.0.0.1:7860:7860 -v "$PWD/runs/mine:/run:ro" glowkit app /run --host 0.0.0.0 --port 7860
#
# and any other command in place of `app`. The port has to be the same inside and outside: the page
# answers under its own address only.

# A wheel with the compiled kernels inside, for which the full image has a compiler.
FROM python:3.13 AS wheel
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY src src
RUN GLOWKIT_WHEEL=1 pip wheel --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
COPY --from=wheel /wheels /wheels
# torch without CUDA: 200 MB in place of several GB.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
    "$(ls /wheels/*.whl)[app]"
RUN useradd --create-home glowkit
COPY examples/digits /models/digits
USER glowkit
WORKDIR /home/glowkit
EXPOSE 7860
ENTRYPOINT ["glowkit"]
CMD ["app", "/models/digits", "--host", "0.0.0.0", "--port", "7860"]
