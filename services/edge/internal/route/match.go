package route

import (
	"slices"
	"strings"
)

// Facts is what of a request routes ask about. Its functions are asked only where some
// route asks.
type Facts struct {
	Operation Operation
	// Path is that of REST, empty over gRPC, and Method the full gRPC method.
	Path, Method string
	// Model is as the request names it.
	Model                  string
	Tenant, Subject, KeyID string
	// Header returns the values of a header by its name in lower case.
	Header func(name string) []string
}

func (f *Facts) header(name string) []string {
	if f.Header == nil {
		return nil
	}
	return f.Header(name)
}

// The members of Match, as an answer names what did not match.
const (
	byOperations = "match.operations"
	byTenants    = "match.tenants"
	byModels     = "match.models"
	byPaths      = "match.paths"
	bySubjects   = "match.subjects"
	byKeys       = "match.keys"
	byHeaders    = "match.headers"
)

// misses returns the member by which a request is not one that the match is about;
// empty when it is.
func (m *Match) misses(f *Facts) string {
	switch {
	case len(m.Operations) > 0 && !slices.Contains(m.Operations, f.Operation):
		return byOperations
	case len(m.Tenants) > 0 && !anyOf(m.Tenants, f.Tenant):
		return byTenants
	case len(m.Models) > 0 && !slices.ContainsFunc(m.Models, func(p string) bool { return modelIs(p, f.Model) }):
		return byModels
	case len(m.Paths) > 0 && !anyOf(m.Paths, f.Path) && !anyOf(m.Paths, f.Method):
		return byPaths
	case len(m.Subjects) > 0 && !anyOf(m.Subjects, f.Subject):
		return bySubjects
	case len(m.Keys) > 0 && !anyOf(m.Keys, f.KeyID):
		return byKeys
	}
	for _, h := range m.Headers {
		if !slices.ContainsFunc(f.header(h.Name), h.is) {
			return byHeaders
		}
	}
	return ""
}

func (h HeaderMatch) is(value string) bool {
	switch {
	case h.Present:
		return true
	case h.Prefix != "":
		return strings.HasPrefix(value, h.Prefix)
	default:
		return value == h.Value
	}
}

func anyOf(patterns []string, text string) bool {
	return text != "" && slices.ContainsFunc(patterns, func(p string) bool { return glob(p, text) })
}

// modelIs reports whether a pattern is about a model as a request names it: a pattern
// without @ is about every alias and version.
func modelIs(pattern, model string) bool {
	if !strings.Contains(pattern, "@") {
		model, _, _ = strings.Cut(model, "@")
	}
	return model != "" && glob(pattern, model)
}

// glob reports whether a text is what a pattern stands for; asterisks stand for
// anything. Its time is the product of both lengths at most.
func glob(pattern, text string) bool {
	begin, rest, some := strings.Cut(pattern, "*")
	if !some {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, begin)
	if !ok {
		return false
	}
	for {
		part, more, some := strings.Cut(rest, "*")
		if !some {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], more
	}
}

// Meet reports whether two patterns can stand for one text. Its time is the product of
// both lengths.
func Meet(a, b string) bool {
	// below[j] says whether a[i+1:] and b[j:] can, at that of a[i:] and b[j:].
	below, at := make([]bool, len(b)+1), make([]bool, len(b)+1)
	for i := len(a); i >= 0; i-- {
		for j := len(b); j >= 0; j-- {
			star := i < len(a) && a[i] == '*'
			switch {
			case i == len(a) && j == len(b):
				at[j] = true
			case star:
				at[j] = below[j] || j < len(b) && at[j+1]
			case j < len(b) && b[j] == '*':
				at[j] = at[j+1] || i < len(a) && below[j]
			default:
				at[j] = i < len(a) && j < len(b) && a[i] == b[j] && below[j+1]
			}
		}
		below, at = at, below
	}
	return below[0]
}

// Reference returns the name of a model, and what follows it.
func Reference(model string) (name, reference string) {
	name, reference, _ = strings.Cut(model, "@")
	return name, reference
}
