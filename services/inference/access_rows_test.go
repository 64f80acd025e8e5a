package inference

import "testing"

func TestEveryMethodSaysWhoMayCallIt(t *testing.T) {
	for _, fault := range access().Faults("poterne.inference.v1") {
		t.Error(fault)
	}
}
