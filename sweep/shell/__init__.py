"""The command `secateur`: one door to the commands of this project. It imports the one that is asked for."""
