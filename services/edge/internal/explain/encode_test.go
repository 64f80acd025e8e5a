package explain

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func arrived() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

func notes(now *time.Time) *Notes {
	n := new(Notes)
	n.Begin(arrived(), func() time.Time { return *now })
	return n
}

func TestWhatIsNotedIsReadAgain(t *testing.T) {
	now := arrived().Add(time.Millisecond)
	n := notes(&now)
	n.Add(Decision{Step: Identity, Outcome: "accepted", Attributes: []Attribute{{"by", "api-key"}, {"empty", ""}}})
	now = now.Add(time.Second)
	n.Add(Decision{Step: "own", Outcome: "é", Detail: "why", Duration: time.Millisecond})
	n.Add(Decision{Step: Route, Start: arrived().Add(-time.Hour), Duration: -1})
	got, omitted, err := n.End(Decision{Step: Answer, Outcome: "answered"}).Decode()
	want := []Noted{
		{Step: Identity, Outcome: "accepted", Attributes: []Attribute{{"by", "api-key"}, {"empty", ""}}, Start: time.Millisecond},
		{Step: "own", Outcome: "é", Detail: "why", Start: time.Second, Duration: time.Millisecond},
		{Step: Route},
		{Step: Answer, Outcome: "answered", Start: 1001 * time.Millisecond},
	}
	if err != nil || omitted != 0 || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %d, %v", got, omitted, err)
	}
	if got[0].Attribute("by") != "api-key" || got[0].Attribute("none") != "" {
		t.Error("attributes are not found")
	}
	before := n.Encoded()
	n.Add(Decision{Step: Usage})
	if !bytes.Equal(before, n.Encoded()) {
		t.Error("what came after the end was noted")
	}
}

func TestNotesAreBounded(t *testing.T) {
	now := arrived()
	for name, d := range map[string]Decision{
		"many":  {Step: Attempt},
		"large": {Step: Retrieval, Detail: strings.Repeat("é", 200), Attributes: make([]Attribute, 100)},
		"wide":  {Step: Retrieval, Detail: strings.Repeat("\xff", 400), Attributes: []Attribute{{strings.Repeat("n", 500), strings.Repeat("v", 500)}}},
	} {
		n := notes(&now)
		for range 100 {
			n.Add(d)
		}
		e := n.End(Decision{Step: Answer, Outcome: "answered", Detail: strings.Repeat("d", 300)})
		list, omitted, err := e.Decode()
		if err != nil || len(e) > MaxBytes || len(list)+omitted != 101 || omitted == 0 || len(list) > MaxDecisions+1 {
			t.Errorf("%s: %d bytes, %d and %d decisions, %v", name, len(e), len(list), omitted, err)
			continue
		}
		if last := list[len(list)-1]; last.Step != Answer {
			t.Errorf("%s: the last one is missing: %+v", name, last)
		}
		if d := list[0]; len(d.Detail) > MaxText || len(d.Attributes) > MaxAttributes {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestNothingIsNotedWhenOff(t *testing.T) {
	var n Notes
	n.Off()
	n.Add(Decision{Step: Identity})
	if e := n.End(Decision{Step: Answer}); e != nil || len(n.Encoded()) != 0 {
		t.Errorf("%v", e)
	}
}

func TestNotingAllocatesLittle(t *testing.T) {
	now := arrived()
	n := new(Notes)
	allocs := testing.AllocsPerRun(100, func() {
		*n = Notes{}
		n.Begin(arrived(), func() time.Time { return now })
		for range 10 {
			n.Add(Decision{Step: Limits, Outcome: "allowed", Attributes: []Attribute{{"a", "b"}, {"c", "d"}}})
		}
		n.End(Decision{Step: Answer})
	})
	if allocs > 3 { // one of them is made under the race detector alone
		t.Errorf("%v allocations", allocs)
	}
}

// The numbers are in records that exist.
func TestStepsKeepTheirNumbers(t *testing.T) {
	for i, s := range steps() {
		if numberOf(s) != byte(i+1) {
			t.Errorf("%s has the number %d, want %d", s, numberOf(s), i+1)
		}
	}
}

func FuzzDecode(f *testing.F) {
	now := arrived()
	n := notes(&now)
	n.Add(Decision{Step: Identity, Outcome: "accepted", Attributes: []Attribute{{"by", "api-key"}}})
	n.Add(Decision{Step: "own", Detail: "why"})
	f.Add([]byte(n.Encoded()))
	f.Add([]byte{1, 2, 3})
	f.Add([]byte{1, 1, 0, 200, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		e := Encoded(data)
		list, omitted, err := e.Decode()
		text, jsonErr := json.Marshal(e)
		if jsonErr != nil {
			t.Fatal(jsonErr)
		}
		var again Encoded
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !bytes.Equal(again, e) {
			t.Fatalf("%x became %x", data, again)
		}
		if err == nil && !bytes.Equal(Encode(list, omitted), e) {
			t.Fatalf("%x is not the only form", data)
		}
	})
}

// A text that was cut can be seen to be, and stays text.
func TestCutTexts(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("a", MaxText):                     strings.Repeat("a", MaxText),
		strings.Repeat("a", MaxText+1):                   strings.Repeat("a", MaxText-len(cut)) + cut,
		strings.Repeat("a", MaxText-4) + "\u00e9\u00e9b": strings.Repeat("a", MaxText-4) + cut,
		strings.Repeat("\u00e9", MaxText):                strings.Repeat("\u00e9", (MaxText-len(cut))/2) + cut,
		"a\xff":                                          "a?",
	} {
		if got := clean(text); got != want || len(got) > MaxText || !utf8.ValidString(got) {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
