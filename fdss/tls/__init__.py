"""TLS: the folder of certificates and keys, who signs them, what server and client make of it."""
