"""The endpoints of HTTP API v1, one blueprint a module."""
