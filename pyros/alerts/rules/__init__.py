"""The rules by which alerts become observations, the decisions they lead to, and rules tried on the past."""
