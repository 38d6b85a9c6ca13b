"""What the analyses state, held against studies whose truth is planted."""
