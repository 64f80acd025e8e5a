package embedded

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/filter"
)

// Whatever a version has is read back, however many there are.
func TestRecordsAreReadBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	numbers := []float64{0, 1, -1, 0.5, -127, 1 << 20, 1<<53 - 1, 1 << 53, -1 << 60, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Copysign(0, -1)}
	texts := []string{"", "a", "été", strings.Repeat("long", 100), strings.Repeat("x", mostChunk)}
	value := func() filter.Value {
		switch rng.IntN(3) {
		case 0:
			return filter.Value{Kind: filter.Number, Number: numbers[rng.IntN(len(numbers))]}
		case 1:
			return filter.BoolValue(rng.IntN(2) == 0)
		default:
			return filter.StringValue(texts[rng.IntN(len(texts)-1)])
		}
	}
	var r records
	var want []record
	var at []place
	for i := range 3000 {
		d := record{id: fmt.Sprint("d", i), title: texts[rng.IntN(len(texts)-1)]}
		if i%1000 == 999 {
			d.title = texts[len(texts)-1]
		}
		for range rng.IntN(4) {
			d.principals = append(d.principals, fmt.Sprint("group:", rng.IntN(200)))
		}
		for j := range rng.IntN(5) {
			f := filter.Field{Path: fmt.Sprintf("%d.f%d", j, rng.IntN(100)), Shape: filter.Shape(rng.IntN(4))}
			for range rng.IntN(3) {
				f.Values = append(f.Values, value())
			}
			d.fields = append(d.fields, f)
		}
		at, want = append(at, r.add(d)), append(want, d)
	}
	var room record
	var values []filter.Value
	for i, d := range want {
		room = r.read(at[i], room)
		if room.id != d.id || room.title != d.title || fmt.Sprint(room.principals) != fmt.Sprint(d.principals) || len(room.fields) != len(d.fields) {
			t.Fatalf("record %d: %v, want %v", i, room, d)
		}
		if r.id(at[i]) != d.id || r.title(at[i]) != d.title {
			t.Fatalf("record %d is %q, %q", i, r.id(at[i]), r.title(at[i]))
		}
		for j, f := range d.fields {
			one, ok := r.field(at[i], f.Path, values)
			values = one.Values
			for _, got := range []filter.Field{room.fields[j], one} {
				if !ok || got.Path != f.Path || got.Shape != f.Shape || !sameValues(got.Values, f.Values) {
					t.Fatalf("record %d: %v, want %v", i, got, f)
				}
			}
		}
		if _, ok := r.field(at[i], "other", values); ok {
			t.Fatal("a record has a field that none has")
		}
	}
}

// sameValues tells 0 from -0.
func sameValues(a, b []filter.Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Float64bits(a[i].Number) != math.Float64bits(b[i].Number) || !reflect.DeepEqual(a[i], b[i]) {
			return false
		}
	}
	return true
}

// What many versions have in common is kept once, and the rest in few bytes.
func TestRecordsTakeLittle(t *testing.T) {
	var r records
	for i := range 1000 {
		r.add(record{
			id: fmt.Sprintf("d%07d", i), principals: []string{"tenant:acme", "user:ada"},
			fields: []filter.Field{
				{Path: "category", Shape: filter.Scalar, Values: []filter.Value{filter.StringValue("reports")}},
				{Path: "year", Shape: filter.Scalar, Values: []filter.Value{filter.NumberValue(2026)}},
			},
		})
	}
	total := 0
	for _, c := range r.chunks {
		total += len(c)
	}
	if each := total / 1000; each > 48 {
		t.Errorf("a record takes %d bytes", each)
	}
	if len(r.chunks) > 8 || len(r.paths.texts) != 2 || len(r.principals.texts) != 2 {
		t.Errorf("%d chunks, %v, %v", len(r.chunks), r.paths.texts, r.principals.texts)
	}
}
