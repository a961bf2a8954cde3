"""What servers and routers count, and how it is told to Prometheus."""
