"""`pipeline doctor --repair`: whatever has become of `.state/`, no run is lost or made twice."""
