package registry

import "testing"

func TestEveryMethodSaysWhoMayCallIt(t *testing.T) {
	for _, fault := range access().Faults("poterne.registry.v1") {
		t.Error(fault)
	}
}
