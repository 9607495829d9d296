-- Dead letters are found by what is dead, not by reading every message.
CREATE INDEX leases_dead ON leases (key) WHERE state = 'dead';
