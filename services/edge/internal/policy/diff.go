package policy

import (
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// Diff says in what two documents differ. Rules and cases are told apart by their
// ids and names, so that one which only moved is no difference.
func Diff(before, after *Document) []*edgev1.PolicyDifference {
	var out []*edgev1.PolicyDifference
	out = appendDiff(out, "setting", settings(before), settings(after))
	out = appendDiff(out, "rule", named(before.GetRules(), (*edgev1.PolicyRule).GetId, "rule-"), named(after.GetRules(), (*edgev1.PolicyRule).GetId, "rule-"))
	role := func(r *edgev1.PolicyRole) string {
		return r.GetMember() + " is " + r.GetRole() + " in " + or(r.GetTenant(), "its own tenant")
	}
	out = appendDiff(out, "role", named(before.GetRoles(), role, "role-"), named(after.GetRoles(), role, "role-"))
	return appendDiff(out, "case", named(before.GetCases(), (*edgev1.PolicyCase).GetName, "case-"), named(after.GetCases(), (*edgev1.PolicyCase).GetName, "case-"))
}

// part is something of a document, under a name.
type part struct {
	name    string
	message proto.Message
}

func settings(d *Document) []part {
	return []part{{"document", &Document{Description: d.GetDescription(), WithoutBase: d.GetWithoutBase()}}}
}

func named[T proto.Message](list []T, name func(T) string, prefix string) []part {
	out := make([]part, len(list))
	for i, m := range list {
		out[i] = part{or(name(m), prefix+strconv.Itoa(i+1)), m}
	}
	return out
}

func appendDiff(out []*edgev1.PolicyDifference, kind string, before, after []part) []*edgev1.PolicyDifference {
	old := make(map[string]proto.Message, len(before))
	for _, p := range before {
		old[p.name] = p.message
	}
	seen := make(map[string]bool, len(after))
	for _, p := range after {
		seen[p.name] = true
		was, there := old[p.name]
		switch {
		case !there:
			out = append(out, &edgev1.PolicyDifference{Kind: kind, Id: p.name, Change: "added", After: jsonText(p.message)})
		case !proto.Equal(was, p.message):
			out = append(out, &edgev1.PolicyDifference{Kind: kind, Id: p.name, Change: "changed", Before: jsonText(was), After: jsonText(p.message)})
		}
	}
	for _, p := range slices.Clone(before) {
		if !seen[p.name] {
			out = append(out, &edgev1.PolicyDifference{Kind: kind, Id: p.name, Change: "removed", Before: jsonText(p.message)})
		}
	}
	return out
}
