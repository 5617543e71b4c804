"""Run declared stages on Ray: parts, pools, session, heartbeat."""
