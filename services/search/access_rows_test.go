package search

import "testing"

func TestEveryMethodSaysWhoMayCallIt(t *testing.T) {
	for _, fault := range access().Faults("poterne.search.v1") {
		t.Error(fault)
	}
}
