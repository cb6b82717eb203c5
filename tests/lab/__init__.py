"""What tests start themselves: real servers on free ports, and peers that misbehave and remember every octet."""
