package grant

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

const wildcard = "*"

// MaxEntries bounds each list of a grant.
const MaxEntries = 64

// maxName is the longest name of a model or a collection, and the * after it.
const maxName = 129

// Actions are the actions that there are, by the type of their resource.
type Actions map[string][]string

// EntryError says which entry of a grant cannot be used, and why.
type EntryError struct {
	// List is the list's name: scopes, models, collections or networks.
	List string
	// Index is the entry's place in it; -1 when the list itself is at fault.
	Index   int
	Message string
}

// Field names the entry as a request does.
func (e *EntryError) Field() string {
	if e.Index < 0 {
		return e.List
	}
	return fmt.Sprintf("%s[%d]", e.List, e.Index)
}

func (e *EntryError) Error() string { return e.Field() + ": " + e.Message }

// Parse makes a grant of what came from outside: entries in order, each once. The
// error is an *EntryError.
func Parse(known Actions, scopes, models, collections, networks []string) (Grant, error) {
	var g Grant
	var err error
	if g.Scopes, err = entries("scopes", scopes, known.check); err != nil {
		return Grant{}, err
	}
	if g.Models, err = entries("models", models, checkName); err != nil {
		return Grant{}, err
	}
	if g.Collections, err = entries("collections", collections, checkName); err != nil {
		return Grant{}, err
	}
	texts, err := entries("networks", networks, func(s string) string { _, message := network(s); return message })
	if err != nil {
		return Grant{}, err
	}
	for _, t := range texts {
		p, _ := network(t)
		g.Networks = append(g.Networks, p)
	}
	g.Networks = slices.CompactFunc(g.Networks, func(a, b netip.Prefix) bool { return a == b })
	return g, nil
}

// entries returns list in order, each entry once, if check finds nothing to say
// about any.
func entries(name string, list []string, check func(string) string) ([]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	if len(list) > MaxEntries {
		return nil, &EntryError{List: name, Index: -1, Message: fmt.Sprintf("at most %d are allowed", MaxEntries)}
	}
	for i, s := range list {
		if message := check(s); message != "" {
			return nil, &EntryError{List: name, Index: i, Message: message}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(list))), nil
}

// check returns what is wrong with a scope, or "".
func (a Actions) check(scope string) string {
	typ, action, ok := strings.Cut(scope, ":")
	if !ok {
		return fmt.Sprintf("%.64q is not of the form type:action", scope)
	}
	if typ != wildcard {
		actions, ok := a[typ]
		if !ok {
			return fmt.Sprintf("there is no type %.64q; known are %s", typ, strings.Join(slices.Sorted(maps.Keys(a)), ", "))
		}
		if action != wildcard && !slices.Contains(actions, action) {
			return fmt.Sprintf("the type %q has no action %.64q; known are %s", typ, action, strings.Join(actions, ", "))
		}
		return ""
	}
	if action == wildcard {
		return ""
	}
	for _, actions := range a {
		if slices.Contains(actions, action) {
			return ""
		}
	}
	return fmt.Sprintf("no type has an action %.64q", action)
}

// checkName returns what is wrong with a name or a beginning of names, or "".
func checkName(s string) string {
	name := strings.TrimSuffix(s, wildcard)
	if s == "" || len(s) > maxName {
		return fmt.Sprintf("a name must have 1 to %d characters", maxName)
	}
	for i := range len(name) {
		c := name[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && !strings.ContainsRune("._-/", rune(c)) {
			return fmt.Sprintf("%.64q is neither a name nor the beginning of one with * after it", s)
		}
	}
	return ""
}

// network reads a network, or an address for the network of only that one, and
// returns what is wrong with it, or "". What is said of addresses of version 4
// that are written as version 6 is meant as version 4, which is how a client's
// address is known.
func network(s string) (netip.Prefix, string) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		addr, addrErr := netip.ParseAddr(s)
		if addrErr != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Sprintf("%.64q is not a network such as 192.0.2.0/24", s)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), ""
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Sprintf("%.64q is not a network such as 192.0.2.0/24", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Sprintf("%.64q has bits after its length; meant may be %s", s, p.Masked())
	}
	return p, ""
}
