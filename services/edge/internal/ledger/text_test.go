package ledger

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// Every field of an entry comes back, whatever is in it: a field that is added and not
// written here would be lost with the process.
func TestTextIsRead(t *testing.T) {
	t.Parallel()
	whole := Entry{
		ID: "a\"\\\n\x00é<", RequestID: "r", Time: time.Date(2026, 5, 1, 2, 3, 4, 567_890_000, time.UTC),
		Dimensions: Dimensions{
			Tenant: "t", KeyID: "k", Subject: "s", Kind: "o", Model: "m", Version: -7, Variant: "w", Experiment: "x", Arm: "a",
		},
		Tokens: Tokens{Input: 1, Cached: 2, Output: 1 << 60, Reasoning: 3, AudioInput: 4, AudioOutput: 5}, Documents: 6, Outcome: Whole, Estimated: true, Digest: "d", VariantDigest: "wd",
		Cost: 5, Price: 6, Claimed: true, Hit: true, SavedInput: 8, SavedOutput: 9,
		Charges: []Charge{{Period: Period{Budget: 1, Start: 2}, Amount: -3, Money: true}, {}},
	}
	if v := reflect.ValueOf(whole); !allSet(v) {
		t.Fatal("a field is not tried here")
	}
	for _, e := range []Entry{whole, {}, {ID: "b", Charges: []Charge{{Amount: 1}}}} {
		text := e.appendText([]byte("before "))
		var got Entry
		if err := json.Unmarshal(text[len("before "):], &got); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s\nis read as %+v, %v", text, got, err)
		}
	}
}

// allSet reports whether no field of a struct is empty.
func allSet(v reflect.Value) bool {
	for _, f := range v.Fields() {
		if f.IsZero() || f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]() && !allSet(f) {
			return false
		}
	}
	return true
}
