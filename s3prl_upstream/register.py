"""Makes the upstream known to s3prl, without editing it."""

from __future__ import annotations

from types import ModuleType

from s3prl_upstream import hubconf

ENTRIES = {
    entry.__name__: entry
    for entry in (
        hubconf.speechclip_plus,
        hubconf.speechclip_parallel,
        hubconf.speechclip_cascaded,
        hubconf.speechclip_plus_cascaded,
        hubconf.speechclip_plus_hybrid,
        hubconf.speechclip_plus_hybrid_plus,
    )
}


def register(hub: ModuleType | None = None) -> None:
    """Puts the entries into ``s3prl.hub``, once per process; calling it again changes nothing.

    Args:
        hub: The module to put them into; ``s3prl.hub`` by default.

    Raises:
        ImportError: If s3prl cannot be imported.
        RuntimeError: If the hub has another upstream of such a name already.
    """
    if hub is None:
        from espnet_plugin.speechclip.backends.s3prl import upstream_hub

        hub = upstream_hub()
    for name, entry in ENTRIES.items():
        present = getattr(hub, name, entry)
        # compared by name: this module may have been imported anew
        if getattr(present, "__module__", None) != entry.__module__:
            raise RuntimeError(
                f"{hub.__name__} has an upstream {name} of {present.__module__} already; it is not "
                "overwritten"
            )
    for name, entry in ENTRIES.items():
        setattr(hub, name, entry)
