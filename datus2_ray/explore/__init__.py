"""The browser application: look at clusters, name, join and split them, correct single segments, teach."""
