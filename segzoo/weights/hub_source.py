"""``hf://`` addresses: the Hub's own client says where a file is, who may have it and what its hash is."""

from __future__ import annotations

import time

from segzoo.weights.sources import HubFile
from segzoo.weights.transport import AddressError, Patience, Remote

__all__ = ["resolve"]


def resolve(file: HubFile, patience: Patience) -> tuple[Remote, str | None]:
    """Where to ask for a file of a Hub repository, at its revision's present commit, and its sha256 if the Hub has it.

    The endpoint (``HF_ENDPOINT``) and the token (``HF_TOKEN`` or a log-in) are huggingface_hub's.

    Raises:
        AddressError: the file or repository is not there, or gated; the Hub does not answer; its client is missing.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
        from huggingface_hub.utils import build_hf_headers
    except ImportError as error:
        raise AddressError("huggingface_hub is not installed: pip install huggingface_hub") from error
    if not file.path:
        raise AddressError(
            f"it names a repository; name a file in it, such as hf://{file.repository}/model.safetensors"
        )
    url = huggingface_hub.hf_hub_url(file.repository, file.path, revision=file.revision)
    for attempt, pause in enumerate(patience.pauses(), start=1):
        try:
            metadata = huggingface_hub.get_hf_file_metadata(url, timeout=patience.connect_timeout)
            break
        except errors.EntryNotFoundError as error:
            raise AddressError(f"there is no {file.path} at revision {file.revision}") from error
        except errors.RevisionNotFoundError as error:
            raise AddressError(f"there is no revision {file.revision}") from error
        except errors.GatedRepoError as error:
            raise AddressError(
                "the repository is gated: ask for access on its page, then log in (`hf auth login`)"
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise AddressError("there is no such repository, or it is private: log in (`hf auth login`)") from error
        except Exception as error:  # the client's HTTP library differs by version, and so do its errors
            if attempt >= patience.unreachable_attempts:
                raise AddressError(f"the Hub does not answer: {str(error).splitlines()[0]}") from error
            time.sleep(pause)
    if metadata.commit_hash:
        url = huggingface_hub.hf_hub_url(file.repository, file.path, revision=metadata.commit_hash)
    tag = (metadata.etag or "").strip('"')
    # A large file's tag is its sha256; a small one's is git's own hash, of 40 digits.
    sha256 = tag if len(tag) == 64 and set(tag) <= set("0123456789abcdef") else None
    return Remote(url, build_hf_headers()), sha256
