package store

// Rights say which documents a caller may replace and remove. None by default.
type Rights struct {
	// Principals are the caller's: what one of them may read may be changed.
	Principals []string
	// All is for administrators, who publish for groups that they are not in:
	// every document of the collection, readable or not.
	All bool
}

// covers returns the condition that the rights cover a document d, as an
// expression that is true or false, and its arguments from $first on.
func (r Rights) covers(first int) (string, []any) {
	if r.All {
		return "(1 = 1)", nil
	}
	in, args := anyOf(first, r.Principals)
	return "(" + readable(in) + ")", args
}
