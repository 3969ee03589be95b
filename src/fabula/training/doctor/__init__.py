"""The doctor: what a run would learn, looked at before its first step."""
