package obligation

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
)

// Classes is which documents a request may see, by their class: those of the named
// classes, or, with Except, all but those.
type Classes struct {
	Except bool
	Names  []string // in order
	// Unclassified says whether documents without a class may be seen.
	Unclassified bool
}

// Match reports whether documents of a class may be seen; "" is none.
func (c *Classes) Match(class string) bool {
	switch {
	case c == nil:
		return true
	case class == "":
		return c.Unclassified
	default:
		return slices.Contains(c.Names, class) != c.Except
	}
}

// MatchValue is Match for what stands in a document's metadata. A class must be a text;
// of anything else each part that could be one must not be denied, and nothing allows
// it by name.
func (c *Classes) MatchValue(v *structpb.Value) bool {
	if c == nil {
		return true
	}
	switch kind := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return c.Match("")
	case *structpb.Value_StringValue:
		return c.Match(kind.StringValue)
	case *structpb.Value_ListValue:
		return c.Except && !slices.ContainsFunc(kind.ListValue.GetValues(), func(e *structpb.Value) bool { return slices.Contains(c.Names, e.GetStringValue()) })
	case *structpb.Value_StructValue:
		for name := range kind.StructValue.GetFields() {
			if slices.Contains(c.Names, name) {
				return false
			}
		}
	}
	return c.Except
}

// Filter writes the classes as a filter (AIP-160) over metadata.class. What is
// allowed must be that class and nothing else; what is denied is so also where it is
// one of several.
func (c *Classes) Filter() string {
	if c == nil {
		return ""
	}
	if c.Except {
		var terms []string
		for _, name := range c.Names {
			terms = append(terms, fmt.Sprintf("NOT class:%q", name))
		}
		if !c.Unclassified {
			terms = append(terms, `class:*`, `NOT class = ""`)
		}
		return strings.Join(terms, " AND ")
	}
	var terms []string
	for _, name := range c.Names {
		terms = append(terms, fmt.Sprintf("class = %q", name))
	}
	if c.Unclassified {
		terms = append(terms, "NOT class:*", `class = ""`)
	}
	return strings.Join(terms, " OR ")
}

// And is what both let see; either may be nil, for everything.
func (c *Classes) And(d *Classes) *Classes {
	if c == nil || d == nil {
		if c == nil {
			return d
		}
		return c
	}
	out := &Classes{Except: c.Except && d.Except, Unclassified: c.Unclassified && d.Unclassified}
	for _, name := range append(slices.Clone(c.Names), d.Names...) {
		if (c.Match(name) && d.Match(name)) != out.Except {
			out.Names = append(out.Names, name)
		}
	}
	slices.Sort(out.Names)
	out.Names = slices.Compact(out.Names)
	return out
}
