"""Read files and messages from outside within limits: nothing is allocated because a header asks for it."""
