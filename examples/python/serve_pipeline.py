"""Serves an adapter over HTTP from transformers' pipeline: a prompt comes in, a text goes out.

python examples/python/serve_pipeline.py base-model adapter [port]
curl -d 'Request: Turn off the kitchen light.' localhost:8000
"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from transformers import AutoTokenizer, Pipeline, pipeline

import milora  # noqa: F401  (the pipeline then knows the adapter's type)


def make_server(base: str, adapter: str, port: int) -> HTTPServer:
    """A server that is ready to serve; port 0 takes a free one."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    write: Pipeline = pipeline("text-generation", model=adapter, tokenizer=tokenizer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            prompt = self.rfile.read(int(self.headers["Content-Length"])).decode()
            [answer] = write(prompt, max_new_tokens=24, do_sample=False, return_full_text=False)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.end_headers()
            self.wfile.write(answer["generated_text"].encode())

    # One request at a time: two at once on one model would mix their routing.
    return HTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    base, adapter, *rest = sys.argv[1:]
    server = make_server(base, adapter, int(rest[0]) if rest else 8000)
    print(f"listening on http://127.0.0.1:{server.server_port}")
    server.serve_forever()
