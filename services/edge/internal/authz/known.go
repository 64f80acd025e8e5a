package authz

import (
	"fmt"
	"slices"
	"strings"
)

// Permissions is every kind of resource and action that is ever asked for, in
// order.
func Permissions() []Permission {
	out := []Permission{{Type: "role", Action: "grant-any"}}
	for _, m := range Table() {
		if m.Access == Checked {
			out = append(out, Permission{Type: m.Type, Action: m.Action})
		}
	}
	slices.SortFunc(out, func(a, b Permission) int { return strings.Compare(a.Type+":"+a.Action, b.Type+":"+b.Action) })
	return slices.Compact(out)
}

// CheckPermission says what is wrong with the types and actions of a rule: each
// name must be known, and some type have some action, or the rule would never
// apply.
func CheckPermission(permissions []Permission, types, actions string) error {
	for name := range strings.SplitSeq(types, "|") {
		if !slices.ContainsFunc(permissions, func(p Permission) bool { return matches(p.Type, name) }) {
			return fmt.Errorf("there is no type of resource %.64q", name)
		}
	}
	for name := range strings.SplitSeq(actions, "|") {
		if !slices.ContainsFunc(permissions, func(p Permission) bool { return matches(p.Type, types) && matches(p.Action, name) }) {
			return fmt.Errorf("there is no action %.64q of %.64q", name, types)
		}
	}
	return nil
}

// OfPlatform reports whether resources of a type are the platform's whoever asks.
func OfPlatform(typ string) bool {
	for _, m := range Table() {
		if m.Type == typ {
			return m.Platform
		}
	}
	return false
}
