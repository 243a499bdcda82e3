"""Handlers of `public.things` for worker processes of the tests (HEARKEN_HANDLERS): each tells the `Witness`."""
