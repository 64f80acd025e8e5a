package index

// MaxEdits is the most edits of a question for neighbours.
const MaxEdits = 2

// Near asks for the terms that a term can be made into by so many edits at
// most: a character is put in, left out, exchanged, or changes places with the
// next one (Damerau's and Levenshtein's distance, each character moved once at
// most).
type Near struct {
	Term string
	// Edits is 0, for the term itself, to MaxEdits.
	Edits int
}

// Neighbour is a term near another one, or that one.
type Neighbour struct {
	Term string
	// Passages is how many have it among those that may be read.
	Passages int
}
