package obligation

// And returns what fulfils both: the smaller cap, and what either asks for. It
// reports false when each asks for another model, which nothing fulfils.
func (s Set) And(t Set) (Set, bool) {
	if t.MaxTokens > 0 && (s.MaxTokens == 0 || t.MaxTokens < s.MaxTokens) {
		s.MaxTokens = t.MaxTokens
	}
	if s.Model != "" && t.Model != "" && s.Model != t.Model {
		return s, false
	}
	if s.Model == "" {
		s.Model = t.Model
	}
	s.Redact = s.Redact || t.Redact
	s.Review = s.Review || t.Review
	return s, true
}
