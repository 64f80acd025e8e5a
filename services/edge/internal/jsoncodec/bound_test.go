package jsoncodec

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

func TestMeasure(t *testing.T) {
	for in, want := range map[string][2]int{
		`1`:                                 {0, 1},
		` null `:                            {0, 1},
		`"a\\\"[{:,"`:                       {0, 1},
		`[]`:                                {1, 1},
		`[1,-2.5e+3,true,null,"x"]`:         {1, 6},
		`{"a:[":{"b":[{},{}]},"c": "d,e" }`: {4, 6},
		"[\n 1 ,\t2 ]":                      {1, 3},
	} {
		if depth, values := measure([]byte(in)); depth != want[0] || values != want[1] {
			t.Errorf("%s: %d deep with %d values, want %v", in, depth, values, want)
		}
	}
}

// many returns n items, separated by commas.
func many(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }

// TestBounds holds that a body cannot make us build many times its own size.
func TestBounds(t *testing.T) {
	doc := func(n int) string { return `{"id":"a","text":"t","metadata":{"x":[` + many("{}", n) + `]}}` }
	docs := func(n, each int) string { return `{"collection":"c","documents":[` + many(doc(each), n) + `]}` }
	for name, tt := range map[string]struct {
		into  proto.Message
		in    string
		field string // "" is accepted
	}{
		"as much metadata as allowed":  {&searchv1.BatchUpsertDocumentsRequest{}, docs(2, 9_998), ""},
		"more metadata":                {&searchv1.BatchUpsertDocumentsRequest{}, docs(2, 9_999), "documents[0].metadata"},
		"numbers in metadata":          {&searchv1.Document{}, `{"id":"a","metadata":{"x":[` + many("1", 1_000_000) + `]}}`, "metadata"},
		"names in metadata":            {&searchv1.Document{}, `{"id":"a","metadata":{` + numbered(10_000) + `}}`, "metadata"},
		"little metadata, often":       {&searchv1.BatchUpsertDocumentsRequest{}, docs(25, 9_000), "documents[22].metadata"},
		"the longest list of tokens":   {&edgev1.CreateEmbeddingRequest{}, `{"model":"m","input":[` + many("1", 131_072) + `]}`, ""},
		"several long lists of tokens": {&edgev1.CreateEmbeddingRequest{}, `{"model":"m","input":[` + many("["+many("1", 60_000)+"]", 10) + `]}`, ""},
		"empty lists of tokens":        {&edgev1.CreateEmbeddingRequest{}, `{"model":"m","input":[` + many("[]", 131_072) + `]}`, "input[99998]"},
	} {
		t.Run(name, func(t *testing.T) {
			err := New(Options{}).Unmarshal([]byte(tt.in), tt.into)
			if tt.field == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if e := apierr.From(err); err == nil || e.Reason != apierr.InvalidArgument ||
				e.Field != tt.field || !strings.Contains(e.Message, " values") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// numbered returns n members of different names.
func numbered(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf(`"%d":null`, i)
	}
	return strings.Join(members, ",")
}

// TestBoundsAreOfOneDocument holds that a codec that is used again counts anew.
func TestBoundsAreOfOneDocument(t *testing.T) {
	c := New(Options{MaxValues: 10})
	for range 20 {
		if err := c.Unmarshal([]byte(`{"id":"a","metadata":{"a":1}}`), &searchv1.Document{}); err != nil {
			t.Fatal(err)
		}
	}
}
