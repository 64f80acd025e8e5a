package authz

import "testing"

// policyMatrix says who may call what is about policies: each tenant's
// administrators for their own, the platform's for any.
func policyMatrix(admins string) map[string]string {
	out := make(map[string]string)
	for _, m := range []string{
		"GetPolicy", "CreatePolicyVersion", "ListPolicyVersions", "GetPolicyVersion", "ActivatePolicy", "DeactivatePolicy", "RollbackPolicy",
		"DiffPolicy", "TestPolicy", "ExplainPolicy", "StartPolicyDryRun", "GetPolicyDryRun",
	} {
		out["PolicyService/"+m] = admins
	}
	return out
}

// TestEveryPermissionIsKnown: what the table asks for, a rule may name; anything
// else is a typing error.
func TestEveryPermissionIsKnown(t *testing.T) {
	known := Permissions()
	for method, m := range Table() {
		if m.Access != Checked {
			continue
		}
		if err := CheckPermission(known, m.Type, m.Action); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
	for _, good := range [][2]string{{"*", "*"}, {"registry-*", "list|get"}, {"model|collection", "chat|search"}, {"document", "wri*"}} {
		if err := CheckPermission(known, good[0], good[1]); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	for _, bad := range [][2]string{
		{"colection", "*"}, {"model|colection", "*"}, {"model", "caht"}, {"model", "search"}, {"collection", "search|caht"}, {"", "chat"}, {"modl*", "*"},
	} {
		if err := CheckPermission(known, bad[0], bad[1]); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

// TestDefaultPolicyNamesWhatThereIs: the rules that come with the program can all
// apply.
func TestDefaultPolicyNamesWhatThereIs(t *testing.T) {
	p, err := DefaultPolicy()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Rules {
		if err := CheckPermission(Permissions(), r.Type, r.Action); err != nil {
			t.Errorf("line %s: %v", r.ID, err)
		}
	}
}
