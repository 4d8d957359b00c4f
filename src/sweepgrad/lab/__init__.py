"""The lab: experiments that answer questions about how networks learn, each with a configuration."""
