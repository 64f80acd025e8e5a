package conversation

import (
	"strings"
	"testing"
)

func TestASummaryThatRepeatsItselfIsNone(t *testing.T) {
	for text, want := range map[string]bool{
		strings.Repeat("I'm glad you're enjoying the conversation. ", 7): true,
		strings.Repeat("- Ada likes tea\n", 3):                           true,
		"Ada likes tea. Ada likes tea. She lives in Lyon.":               false,
		"1. Ada\n1. Bob\n1. Eve":                                         false,
		"Ada likes tea.\nAda likes milk.\nAda likes coffee.":             false,
		strings.Repeat("好的，谢谢你。", 3):                                     true,
		"": false,
	} {
		if got := repeats(text); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}
