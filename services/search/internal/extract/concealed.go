package extract

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// concealment is an element that its page says not to show, while it is open. A
// page's style sheets are not read: only what stands at the element counts.
type concealment struct {
	name string // of the element; "" when there is none
	open int    // elements of that name that are open, itself included
	deep int    // elements that must be closed and were opened in it
}

// start follows the start of an element, and reports whether the concealment ends
// there.
func (c *concealment) start(name string, a atom.Atom) (ended bool) {
	switch {
	case c.name == "":
		return false
	case !mustClose(atom.Lookup([]byte(c.name))) && (name == c.name || c.name == "p" && block(a)):
		*c = concealment{}
		return true
	case name == c.name:
		c.open++
	}
	if nests(a) {
		c.deep++
	}
	return false
}

// end follows the end of an element, and reports whether the concealment ends
// there: with the element itself, or with what it stands in where it need not be
// closed.
func (c *concealment) end(name string, a atom.Atom) (ended bool) {
	if c.name == "" {
		return false
	}
	if name == c.name {
		c.open--
	}
	if nests(a) {
		c.deep--
	}
	if c.open > 0 && (c.deep >= 0 || mustClose(atom.Lookup([]byte(c.name)))) {
		return false
	}
	*c = concealment{}
	return true
}

// begin notes that an element is not shown, if that is so and what is within it
// can be told.
func (c *concealment) begin(name string, a atom.Atom, attributes []html.Attribute) (began bool) {
	if c.name != "" || void(a) || a == atom.Html || a == atom.Head || a == atom.Body || !conceals(attributes) {
		return false
	}
	*c = concealment{name: name, open: 1}
	return true
}

// conceals reports whether an element's own attributes say that it is not shown.
func conceals(attributes []html.Attribute) bool {
	for _, at := range attributes {
		switch at.Key {
		case "hidden":
			if !strings.EqualFold(at.Val, "until-found") {
				return true
			}
		case "style":
			for declaration := range strings.SplitSeq(strings.ToLower(at.Val), ";") {
				property, value, _ := strings.Cut(declaration, ":")
				value, _, _ = strings.Cut(value, "!") // important
				switch strings.TrimSpace(property) + ":" + strings.TrimSpace(value) {
				case "display:none", "visibility:hidden":
					return true
				}
			}
		}
	}
	return false
}

// mustClose reports whether an element ends with its end tag and nowhere else.
func mustClose(a atom.Atom) bool { return nests(a) && !void(a) }

// void reports whether an element holds nothing.
func void(a atom.Atom) bool {
	switch a {
	case atom.Br, atom.Hr, atom.Img, atom.Input, atom.Link, atom.Meta, atom.Area, atom.Base, atom.Col, atom.Embed, atom.Source,
		atom.Track, atom.Wbr, atom.Param:
		return true
	default:
		return false
	}
}
