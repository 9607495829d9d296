-- How far the event log has been trimmed: every event up to here is gone, so a resume from before it has a gap.
CREATE TABLE event_log (trimmed_to INTEGER NOT NULL) STRICT;
INSERT INTO event_log (trimmed_to) VALUES (0);
