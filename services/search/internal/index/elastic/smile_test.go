package elastic

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/elastic/smiletest"
)

// FuzzSmile: what is written is read again, whatever it is, and no byte of it
// ends the document.
func FuzzSmile(f *testing.F) {
	for _, text := range []string{"", "plain", "œuvre", "a\xffb", "\x00\xfc", strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("é", 40)} {
		f.Add(text, int64(-1), 0.5, float32(-0.25))
	}
	f.Add("x", int64(math.MaxInt64), math.MaxFloat64, float32(math.MaxFloat32))
	f.Add("x", int64(math.MinInt64), math.SmallestNonzeroFloat64, float32(math.SmallestNonzeroFloat32))
	f.Add("x", int64(31), math.Copysign(0, -1), float32(0))
	f.Fuzz(func(t *testing.T, text string, n int64, wide float64, narrow float32) {
		s := smile(nil).begin().object().
			name(text).text(text).
			name("n").integer(n).
			name("wide").float64(wide).
			name("narrow").vector([]float32{narrow, -narrow}).
			name("words").words([]string{text, "b"}).
			objectEnd()
		if bytes.IndexByte(s, smileSeparator) >= 0 {
			t.Fatalf("a separator within %x", []byte(s))
		}
		got, err := smiletest.Read(s)
		if err != nil {
			if text == "n" || text == "wide" || text == "narrow" || text == "words" {
				return // a name that is there twice
			}
			t.Fatal(err)
		}
		read := strings.ToValidUTF8(text, "\uFFFD")
		want := map[string]any{
			read: read, "n": n, "wide": wide, "narrow": []any{narrow, -narrow}, "words": read + " b",
		}
		if wide == wide && narrow == narrow && !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestAPassageHasWhatItsVersionHas(t *testing.T) {
	var v version
	made := time.Unix(3, 4)
	v.open(index.Document{No: 9, ID: "other", CreateTime: made, UpdateTime: made}, 9, nil)
	v.open(index.Document{
		No: 7, ID: "book", Title: "A «title»", Principals: []string{"user:ada", "group:staff"}, CreateTime: made, UpdateTime: made.Add(1),
		Fields: []filter.Field{{Path: "year", Values: []filter.Value{filter.NumberValue(2020)}}},
	}, 8, map[string]point{"61": {Lat: 48.85, Lon: 2.35}})
	for chunk, vector := range [][]float32{{1, -0.5}, nil} {
		got, err := smiletest.Read(v.write(smile(nil).begin(), chunk, []string{"a", "title"}, vector))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"no": int64(7), "chunk": int64(chunk), "from": int64(8), "cid": "book#" + string(rune('0'+chunk)),
			"principals": []any{"user:ada", "group:staff"}, "metadata": texts(words([]filter.Field{{Path: "year", Values: []filter.Value{filter.NumberValue(2020)}}})),
			"terms": "a title", "document": "book", "title": "A «title»", "created": made.UnixNano(), "updated": made.UnixNano() + 1,
			"values": map[string]any{"79656172": texts([]string{valueText(filter.NumberValue(2020))})},
			"points": map[string]any{"61": map[string]any{"lat": 48.85, "lon": 2.35}},
		}
		if vector != nil {
			want["vector"] = []any{float32(1), float32(-0.5)}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("passage %d:\ngot  %v\nwant %v", chunk, got, want)
		}
	}
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
