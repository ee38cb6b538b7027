"""certbot's hook, as its user: hands the answer to a validator to the agent, and waits until that is published."""

import os
import socket
import sys

PATIENCE = 120  # seconds

if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(PATIENCE)
        agent.connect(sys.argv[1])
        agent.sendall(f"{os.environ['CERTBOT_TOKEN']} {os.environ['CERTBOT_VALIDATION']}\n".encode())
        sys.exit(0 if agent.recv(1) else "the answer could not be published")
