"""What papermill imports when it starts. Its parent package, which is imported with it, makes Rust known."""

from papermill.engines import NBClientEngine

__all__ = ["NBClientEngine"]
