"""What people look at: the self-contained HTML report, and the table that the terminal shows."""
