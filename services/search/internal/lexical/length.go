package lexical

import "math/bits"

// Lengths of fewer terms than this are kept exactly.
const exactLength = 24 + 1<<lengthBits

// lengthBits is how many leading bits are kept of what goes beyond 24.
const lengthBits = 4

// kept returns a passage's length as Lucene keeps it, in one byte (its class
// SmallFloat): from 40 terms on, rounded down by up to an eighth. It is used
// here, where the length is known, so that both backends rank alike.
func kept(terms uint32) uint32 {
	if terms < exactLength {
		return terms
	}
	const free = exactLength - 1<<lengthBits
	over := terms - free
	lost := bits.Len32(over) - lengthBits
	return free + over>>lost<<lost
}
