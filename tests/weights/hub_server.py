"""As much of the Hugging Face Hub as its own client needs to upload and download a small model."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
from typing import Any

from tests.weights.server import Fault


class HubServer:
    """Repositories by name: lists of commits, each a dict of files. ``gated`` may not be read, ``closed`` not made."""

    def __init__(self) -> None:
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.gated: set[str] = set()
        self.closed: set[str] = set()
        self.requests: list[tuple[str, str, str]] = []
        self.faults: list[Fault] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.hub = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Add files on top of the last commit; returns the new commit's name."""
        history = self.commits.setdefault(repository, [])
        history.append({**(history[-1] if history else {}), **files})
        return self.name(repository, len(history) - 1)

    @staticmethod
    def name(repository: str, number: int) -> str:
        return hashlib.sha1(f"{repository}{number}".encode()).hexdigest()

    def find(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        history = self.commits[repository]
        names = [self.name(repository, i) for i in range(len(history))]
        if revision == "main":
            return names[-1], history[-1]
        return (revision, history[names.index(revision)]) if revision in names else None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    @property
    def hub(self) -> HubServer:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def _note(self) -> None:
        self.hub.requests.append((self.command, self.path, self.headers.get("Authorization", "")))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self._note()
        match = re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)", self.path)
        if match is None:
            return self._answer(404)
        repository, revision, path = match.groups()
        if repository in self.hub.gated:
            return self._answer(403, X_Error_Code="GatedRepo", X_Error_Message="Access to it is restricted.")
        if repository not in self.hub.commits:
            return self._answer(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        found = self.hub.find(repository, revision)
        if found is None:
            return self._answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
        commit, files = found
        if path not in files:
            return self._answer(404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
        self._file(commit, files[path], large=path.endswith((".safetensors", ".pth")))

    def _file(self, commit: str, content: bytes, *, large: bool) -> None:
        digest = hashlib.sha256(content).hexdigest() if large else hashlib.sha1(content).hexdigest()
        headers = {"X_Repo_Commit": commit, "ETag": f'"{digest}"', "Accept_Ranges": "bytes"}
        if large:
            headers |= {"X_Linked_ETag": f'"{digest}"', "X_Linked_Size": str(len(content))}
        fault = self.hub.faults.pop(0) if self.command == "GET" and self.hub.faults else None
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        if match:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if fault is None:
            return self._answer(206 if match else 200, content[start:], **headers)
        self.send_response(206 if match else 200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + fault.after])
        self.close_connection = True

    def do_POST(self) -> None:
        self._note()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/repos/create":
            request = json.loads(body)
            repository = f"{request['organization']}/{request['name']}"
            if repository in self.hub.closed:
                return self._answer(403, b'{"error": "You may not create it"}', Content_Type="application/json")
            self.hub.commits.setdefault(repository, [])
            return self._json({"url": f"{self.hub.url}/{repository}"})
        if self.path.startswith("/api/validate-yaml"):
            return self._json({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/preupload/main", self.path.split("?")[0]):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/commit/main", self.path.split("?")[0]):
            lines = [json.loads(line) for line in body.splitlines()]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            name = self.hub.commit(match[1], files)
            address = f"{self.hub.url}/{match[1]}/commit/{name}"
            return self._json({"commitUrl": address, "commitOid": name, "pullRequestUrl": None})
        self._answer(404)
