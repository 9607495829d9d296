"""The HTTP face of the service: one blueprint a resource; a view reads, calls the service, writes."""
