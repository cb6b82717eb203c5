"""What tests start themselves: real servers on free ports, and peers that misbehave on demand and remember every octet."""
