package worker

import "testing"

func TestEveryMethodSaysWhoMayCallIt(t *testing.T) {
	for _, fault := range access().Faults("poterne.worker.v1") {
		t.Error(fault)
	}
}
