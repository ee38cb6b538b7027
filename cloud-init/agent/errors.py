"""What the agent can't do."""


class AgentError(Exception):
    """The release can't go on; the text is for the person who deploys it."""
