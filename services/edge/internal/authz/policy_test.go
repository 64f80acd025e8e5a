package authz

import (
	"log/slog"
	"strings"
	"testing"
)

func TestPoliciesThatAreRefused(t *testing.T) {
	for name, line := range map[string]string{
		"a call of a method":       "p, role:x, own, *, *, *, subject.String() == 'x', allow",
		"an accessor":              "p, role:x, own, *, *, *, caller.Tenant == 'x', allow",
		"a function":               "p, role:x, own, *, *, *, \"member(subject, 'x')\", allow",
		"an unknown variable":      "p, role:x, own, *, *, *, pepper == 'x', allow",
		"no truth":                 "p, role:x, own, *, *, *, subject + 'x', allow",
		"texts against numbers":    "p, role:x, own, *, *, *, subject > 3, allow",
		"no network":               "p, role:x, own, *, *, *, \"in_network(address, '10.0.0.0/80')\", allow",
		"an unknown obligation":    "p, role:x, own, *, *, *, true, allow, max_token=3",
		"a cap of nothing":         "p, role:x, own, *, *, *, true, allow, max_tokens=0",
		"a deny with obligations":  "p, role:x, own, *, *, *, true, deny, review",
		"no expression":            "p, role:x, own, *, *, *, ((, allow",
		"an unknown effect":        "p, role:x, own, *, *, *, true, maybe",
		"a pattern for a tenant":   "p, role:x, *, *, *, *, true, allow",
		"a part of a tenant":       "g, user:x, role:admin, ac*",
		"no principal":             "p, x, own, *, *, *, true, allow",
		"too few fields":           "p, role:x, own, *, *",
		"an empty field":           "p, role:x, , *, *, *, true, allow",
		"a role that is no role":   "g, user:x, admin, *",
		"another kind of line":     "q, a, b, c",
		"a line that is there":     "p, role:admin, own, *, *, *, true, allow",
		"a quote that never ends":  "p, \"role:x, own",
		"a field that is too long": "p, role:" + strings.Repeat("x", maxFieldBytes) + ", own, *, *, *, true, allow",
	} {
		if _, err := ParsePolicy(strings.NewReader(defaultPolicy + "\n" + line)); err == nil {
			t.Errorf("%s was accepted: %s", name, line)
		}
	}
}

func TestPolicyVersionChangesWithThePolicy(t *testing.T) {
	one, two := open(t, ""), open(t, "p, role:x, own, *, *, *, true, allow\n")
	if one.PolicyVersion() == two.PolicyVersion() || one.PolicyVersion() == "" {
		t.Fatalf("versions %q and %q", one.PolicyVersion(), two.PolicyVersion())
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(defaultPolicy)
	f.Add("p, role:x, own, *, *, *, 'a' in principals, deny")
	f.Add("g, user:x, role:y, *")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy(strings.NewReader(text))
		if err != nil {
			return
		}
		a, err := New(DefaultConfig(), p, slog.New(slog.DiscardHandler))
		if err != nil {
			return
		}
		// Whatever it says, it must not panic.
		a.Allowed(t.Context(), callerWith("acme", "admin"), "chat", Resource{"model", "m", "acme"})
	})
}
