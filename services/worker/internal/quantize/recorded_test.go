package quantize

import "testing"

// What is there answers while something else is made, and without the source.
func TestRecordsAnswerWhileAnotherIsMade(t *testing.T) {
	r := newRig(t, nil)
	first := r.mustMake(r.order)
	measured := r.order
	unmeasured := r.order
	unmeasured.Text = nil
	r.order.Source = r.weights("quantised weights")
	r.order.AllowRequantize = true
	again := r.mustMake(r.order)
	r.ran()
	end, err := r.maker.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	refused, other, changed, nameless := r.order, measured, measured, measured
	refused.AllowRequantize = false
	other.Type = "q8_0"
	changed.Text = []byte("another text")
	nameless.Source.SHA256 = "../made/" + measured.Source.SHA256
	for name, tt := range map[string]struct {
		order Order
		want  string // the hash; empty: no answer
	}{
		"measured":           {measured, first.SHA256},
		"not measured":       {unmeasured, first.SHA256},
		"requantised":        {r.order, again.SHA256},
		"without permission": {refused, ""},
		"another type":       {other, ""},
		"another text":       {changed, ""},
		"not a hash":         {nameless, ""},
	} {
		o := tt.order
		o.Source = Source{SHA256: o.Source.SHA256}
		if err := r.maker.Check(t.Context(), &o); err != nil {
			t.Fatal(err)
		}
		got, ok := r.maker.Recorded(t.Context(), o)
		if ok != (tt.want != "") || got.SHA256 != tt.want {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
		if ok && (got.SourceSize == 0 || got.Size == 0 || got.Window != DefaultWindow || (got.Perplexity == nil) != (len(o.Text) == 0) || got.TextSHA256 != textHash(o.Text)) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	r.wantRan("from records")
}
