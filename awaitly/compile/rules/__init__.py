"""What the compiler objects to: one function a rule, each with its code; every hint says what to write instead."""
