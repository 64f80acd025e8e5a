package detect

import "strings"

// Action is what is done about a finding.
type Action string

// The actions.
const (
	// Allow lets it through, and notes it.
	Allow Action = "allow"
	// Redact puts a name of its kind in its place.
	Redact Action = "redact"
	// Block refuses the request, or ends the answer before it.
	Block Action = "block"
)

// Found is that something of a kind was found, and what is done about it.
type Found struct {
	Kind   Kind
	Action Action
}

// Guard looks for some kinds and knows what to do about each. It is safe for
// concurrent use.
type Guard struct {
	scanner *Scanner
	actions map[Kind]Action
}

func newGuard(detectors []Detector, actions map[Kind]Action) *Guard {
	return &Guard{actions: actions, scanner: NewScanner(detectors, func(k Kind) bool {
		_, ok := actions[k]
		return ok
	})}
}

// Text returns the text with what is to be redacted replaced, and what was found
// in it. When something of it blocks, what is returned of the text is what stands
// before that.
func (g *Guard) Text(text string) (string, []Found) {
	findings := g.scanner.Find(text)
	if len(findings) == 0 {
		return text, nil
	}
	var out strings.Builder
	found := make([]Found, 0, len(findings))
	at := 0
	for _, f := range findings {
		action := g.actions[f.Kind]
		found = append(found, Found{Kind: f.Kind, Action: action})
		out.WriteString(text[at:f.Start])
		if action == Block {
			return out.String(), found
		}
		out.WriteString(replaced(text[f.Start:f.End], f.Kind, action))
		at = f.End
	}
	out.WriteString(text[at:])
	return out.String(), found
}

// Stream returns a stream that does the same, piece by piece.
func (g *Guard) Stream() *Stream { return &Stream{guard: g} }

// replaced is what stands in the place of a finding. It is of ordinary letters,
// so that it fits into JSON texts, and nothing is found in it.
func replaced(text string, k Kind, a Action) string {
	if a != Redact {
		return text
	}
	_, name, _ := strings.Cut(string(k), "/")
	return "[REDACTED " + name + "]"
}

// Blocks returns the first kind among found that blocks.
func Blocks(found []Found) (Kind, bool) {
	for _, f := range found {
		if f.Action == Block {
			return f.Kind, true
		}
	}
	return "", false
}
