package engine

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
)

// piece is a chunk as vLLM and the simulator write it.
func piece(said string, tokens int) string {
	return fmt.Sprintf(`{"id":"x","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"%s"},`+
		`"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":3,"total_tokens":%d,"completion_tokens":%d}}`, said, 3+tokens, tokens)
}

// lookBoth has one stream that learns and one that does not look at the chunks, and holds
// that they say the same. It returns how many were not inspected.
func lookBoth(t *testing.T, limits limits, chunks ...string) (again int) {
	t.Helper()
	learns := &stream{running: tellsUsage, burst: burst{kept: new(shapes)}, meter: meter{limits: limits}}
	inspects := &stream{running: tellsUsage, meter: meter{limits: limits}}
	var all, want [][]byte
	for _, text := range chunks {
		before := learns.burst.n
		got, gotErr := learns.look([]byte(text))
		out, err := inspects.inspect([]byte(text))
		if fmt.Sprint(gotErr) != fmt.Sprint(err) || !bytes.Equal(got, out) || (got == nil) != (out == nil) {
			t.Fatalf("%s: %s, %v, want %s, %v", text, got, gotErr, out, err)
		}
		if !proto.Equal(learns.told(), inspects.told()) || learns.impossible != inspects.impossible || learns.meter.odd != inspects.meter.odd {
			t.Fatalf("%s: counts %v, %v, want %v, %v", text, learns.told(), learns.impossible, inspects.told(), inspects.impossible)
		}
		if err != nil {
			break
		}
		if learns.burst.shape != nil && learns.burst.n == before {
			again++
		}
		all, want = append(all, got), append(want, slices.Clone(out))
	}
	for i := range all { // what was passed on is nobody else's
		if !bytes.Equal(all[i], want[i]) {
			t.Errorf("chunk %d became %s", i, all[i])
		}
	}
	return again
}

func TestChunksOfAShape(t *testing.T) {
	alike := make([]string, 0, 20)
	for i := range 20 {
		alike = append(alike, piece([]string{"", "a", `\"}],\"usage\":{`, `\\`, "\u00e9", `\n`, " and so on", `\u00e9`}[i%8], i+1))
	}
	if again := lookBoth(t, limits{}, alike...); again != 17 {
		t.Errorf("%d of 20 chunks were not inspected", again)
	}
	for name, odd := range map[string][]string{
		"others in between":   {piece("a", 21), `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":22}}`, piece("b", 23)},
		"a quote":             {piece(`a"b`, 21)},
		"a control":           {piece("a\tb", 21), piece("a\nb", 22)},
		"no UTF-8":            {piece("a\xff", 21)},
		"half a surrogate":    {piece(`\ud800`, 21)},
		"an escape of none":   {piece(`\x`, 21), piece(`\`, 22)},
		"no counts":           {`{"id":"x","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}],"usage":null}`},
		"counts of no object": {string(bytes.Replace([]byte(piece("a", 21)), []byte(`{"prompt`), []byte(`[{"prompt`), 1))},
		"two counts":          {string(bytes.Replace([]byte(piece("a", 21)), []byte(`,"completion`), []byte(`},"usage":{"completion`), 1))},
		"a failure":           {string(bytes.Replace([]byte(piece("a", 21)), []byte(`{"prompt_tokens":3,`), []byte(`{"prompt_tokens":4},"error":{"message":"m",`), 1))},
		"fewer than before":   {piece("a", 3)},
		"fewer than none":     {piece("a", -1)},
		"a part":              {string(bytes.Replace([]byte(piece("a", 21)), []byte(`:21`), []byte(`:21.5`), 1))},
		"cut":                 {piece("a", 21)[:100]},
		"the end":             {`{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":20,"total_tokens":23}}`},
		"another choice":      {string(bytes.Replace([]byte(piece("a", 21)), []byte(`"index":0`), []byte(`"index":1`), 1))},
	} {
		t.Run(name, func(t *testing.T) { lookBoth(t, limits{}, append(slices.Clone(alike), odd...)...) })
	}
	// More than can be are corrected.
	lookBoth(t, limits{prompt: 3, completion: 10}, alike...)
}

// Of a stream whose chunks come one by one nothing is learned, or kept.
func TestNoShapeWithoutABurst(t *testing.T) {
	s := &stream{running: tellsUsage, burst: burst{kept: new(shapes)}}
	for i := range 10 {
		if _, err := s.look([]byte(piece("a", i+1))); err != nil {
			t.Fatal(err)
		}
		if s.burst.end(); s.burst.shape != nil {
			t.Fatal("a shape is kept")
		}
	}
	// Chunks that all differ are learned a few times, not all.
	kept := s.burst.kept
	for i := range 20 {
		if _, err := s.look([]byte(`{"n":` + fmt.Sprint(i) + piece("a", i+1)[1:])); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			kept.pool.Put(new(shape))
		}
	}
	if _, ok := s.again([]byte(`{"n":19` + piece("a", 20)[1:])); ok {
		t.Error("the last of many that differ was learned")
	}
}

func FuzzChunksOfAShape(f *testing.F) {
	f.Add(piece("a", 1), piece("b", 2))
	f.Add(piece("a", 1), piece(`\u00e9"`, 2))
	f.Add(`{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":1},"error":null}`,
		`{"choices":[{"delta":{"content":"b"}}],"usage":{"prompt_tokens":1,"completion_tokens":1},"error":{}}`)
	f.Fuzz(func(t *testing.T, first, second string) {
		lookBoth(t, limits{}, first, first, first, second, first, second)
	})
}
