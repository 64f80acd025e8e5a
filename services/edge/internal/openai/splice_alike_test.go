package openai

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
)

// spliceBoth splices chunks that come together, with what was learned of those before and
// without, and holds that both say the same. It returns how many were not looked over.
func spliceBoth(t *testing.T, chunks ...string) (alike int) {
	t.Helper()
	direct := new(inproc.Direct)
	direct.Hold()
	learns, looks := named(), named()
	learns.burst = burst{direct: direct, kept: new(sync.Pool)}
	defer learns.done()
	ours, theirs := begun(0, 1), begun(0, 1)
	for _, raw := range chunks {
		n := learns.burst.n
		got, want := learns.splice([]byte(raw), ours), looks.splice([]byte(raw), theirs)
		if got != want || got && !bytes.Equal(learns.JSON(), looks.JSON()) || *ours != *theirs {
			t.Fatalf("%s: %v, %s, want %v, %s", raw, got, learns.JSON(), want, looks.JSON())
		}
		if got && learns.burst.n == n {
			alike++
		}
	}
	return alike
}

func saying(said string) string {
	return `{"id":{"content":"x"},"object":"chat.completion.chunk","created":7,"model":"m","usage":null,"x":"content","choices":[` +
		`{"index":0,"delta":{"content":"` + said + `"},"finish_reason":null}],"y":{"content":"z"}}`
}

func TestChunksThatAreAlike(t *testing.T) {
	chunks := make([]string, 0, 20)
	for i := range 20 {
		chunks = append(chunks, saying([]string{"", "a", `\"}],\"x\":`, `\\`, "\u00e9", `\n`, " and so on", `\u00e9`}[i%8]))
	}
	if alike := spliceBoth(t, chunks...); alike != 17 {
		t.Errorf("%d of 20 chunks were not looked over", alike)
	}
	for _, odd := range []string{
		saying(`a"b`), saying("a\tb"), saying("\xff"), saying(`\ud800`), saying(`\`), saying(`\x`), saying("a")[:50], saying("a") + "}",
		`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`, `{"choices":[],"usage":{"prompt_tokens":1}}`,
		`{"choices":[{"index":0,"delta":{"content":null}}]}`, `{"choices":[{"index":5,"delta":{"content":"a"}}]}`,
	} {
		spliceBoth(t, append(append(chunks[:8:8], odd), chunks...)...)
	}
}

// Of chunks that come one by one nothing is learned, and of those that all differ not all.
func TestWhatIsNotLearned(t *testing.T) {
	direct := new(inproc.Direct)
	s := named()
	s.burst = burst{direct: direct, kept: new(sync.Pool)}
	for range 10 {
		if !s.splice([]byte(saying("a")), begun(0)) || s.burst.alike != nil {
			t.Fatal("not spliced, or learned")
		}
	}
	direct.Hold()
	for range 10 {
		if s.splice([]byte(saying(strings.Repeat("a", maxAlike))), begun(0)); s.burst.alike != nil {
			t.Fatal("a large chunk was learned")
		}
	}
	s.burst.n = 0
	for i := range 20 {
		s.splice([]byte(`{"n":`+fmt.Sprint(i)+`,`+saying("a")[1:]), begun(0))
	}
	if s.burst.alike != nil {
		if _, ok := s.burst.alike.came.String([]byte(`{"n":19,` + saying("a")[1:])); ok {
			t.Error("the last of many that differ was learned")
		}
	}
	s.burst.n, s.burst.direct = 0, direct
	for range 5 {
		s.splice([]byte(saying("a")), begun(0))
	}
	if s.burst.alike == nil {
		t.Error("nothing was learned")
	}
	s.burst.direct = new(inproc.Direct) // nothing follows at once
	if s.splice([]byte(saying("a")), begun(0)); s.burst.alike != nil {
		t.Error("what was learned is kept while nothing follows")
	}
}

// The first chunk goes on as it came where nothing is to be added to it.
func TestFirstChunksAreSpliced(t *testing.T) {
	codec := jsoncodec.New(jsoncodec.Options{})
	for raw, opens := range map[string][]int32{
		`{"created":1,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}`:      {0},
		`{"choices":[{"delta":{"content":"a","role":"assistant"},"index":3},{"index":0,"delta":{"role":"user"}}],"usage":null}`:     {0, 3},
		`{"choices":[{"index":0,"delta":{"content":"a"}}]}`:                                                                         nil,
		`{"choices":[{"index":0,"delta":{"role":null}}]}`:                                                                           nil,
		`{"choices":[{"index":0,"delta":{"role":""}}]}`:                                                                             nil,
		`{"choices":[{"index":0,"delta":{"\u0072ole":"assistant"}}]}`:                                                               nil,
		`{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":null,"reasoning_content":"so"}}]}`:          {0},
		`{"choices":[{"index":0,"delta":{"role":"assistant","content":5}}]}`:                                                        nil,
		`{"choices":[{"index":0,"delta":{"role":"assistant","content":"a","tool_calls":"x"}}]}`:                                     nil,
		`{"choices":[{"index":0,"delta":{"role":"assistant","content":"a","tool_calls":[]}}]}`:                                      nil,
		`{"choices":[{"index":0,"delta":"role"}]}`:                                                                                  nil,
		`{"choices":[{"index":0,"delta":{"role":"assistant"}},{"index":1,"delta":{}}]}`:                                             nil,
		`{"choices":[{"index":0,"delta":{"role":"assistant"}},{"index":0,"delta":{"role":"assistant"}}]}`:                           nil,
		`{"choices":[{"index":128,"delta":{"role":"assistant"}}]}`:                                                                  nil,
		`{"choices":[{"index":-1,"delta":{"role":"assistant"}}]}`:                                                                   nil,
		`{"choices":[{"index":0,"delta":{"role":"assistant"}}],"usage":{"prompt_tokens":1,"completion_tokens":0,"total_tokens":1}}`: nil,
		`{"choices":[{"index":0,"delta":{"role":"assistant"}}`:                                                                      nil,
	} {
		s, ours := named(), begun()
		if ok := s.splice([]byte(raw), ours); ok != (opens != nil) || *ours != *begun(opens...) {
			t.Errorf("%s: spliced %v, begun %v", raw, ok, ours)
		} else if ok && !same(t, codec, []byte(raw), s.JSON()) {
			t.Errorf("%s became %s", raw, s.JSON())
		}
	}
}

func FuzzChunksThatAreAlike(f *testing.F) {
	f.Add(saying("a"), saying(`\u00e9"`))
	f.Add(`{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"a"}}]}`, saying("a"))
	f.Fuzz(func(t *testing.T, first, second string) {
		spliceBoth(t, first, first, first, second, first, second)
	})
}
