package filter

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestFunctionsSelect(t *testing.T) {
	place := func(lat, lon any) object { return object{"lat": lat, "lon": lon} }
	docs := []object{
		0: {"at": "2024-05-01T12:00:00+02:00", "where": place(48.8566, 2.3522)},
		1: {"at": "2024-05-01t11:00:00.5z", "where": place(0.0, 179.999)},
		2: {"at": "2024-05-02", "where": place("0", 0.0), "days": []any{"2024-01-01", "x"}},
		3: {"at": "2024-13-01", "where": place(0.0, nil)},
		4: {"at": 20240501.0, "where": []any{48.0, 2.0}},
	}
	for filter, want := range map[string]string{
		`at < timestamp("2024-05-01T10:30:00Z")`:    "0",
		`at >= timestamp("2024-05-01T11:00:00.5Z")`: "12",
		`at = timestamp("2024-05-02")`:              "2",
		`at != timestamp("2024-05-02")`:             "0134",
		`at:timestamp("2024-05-02T02:00:00+02:00")`: "2",
		`days:timestamp("2024-01-01")`:              "2",
		`days = timestamp("2024-01-01")`:            "",
		`at < "2024-05-02"`:                         "01",
		`distance(where, 48.8566, 2.3522) <= 0`:     "0",
		`distance(where, 0, -179.999) < 300`:        "1",
		`distance(where, 0, -179.999) < 200`:        "",
		`distance(where, 48, 2) >= 1`:               "01",
		`NOT distance(where, 48, 2) >= 1`:           "234",
		`distance("where", 48.8, 2.3) < 10000`:      "0",
	} {
		got := ""
		for _, d := range selected(t, filter, docs) {
			got += string('0' + rune(d))
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", filter, got, want)
		}
	}
	c := columnsOf(t, docs)
	for i, d := range docs {
		fields, err := Fields(d)
		if err != nil {
			t.Fatal(err)
		}
		c.Remove(uint32(i), fields)
	}
	if len(c.points) != 0 || len(c.fields) != 0 {
		t.Errorf("removed documents leave %v and %v", c.points, c.fields)
	}
}

// The message says where in the filter it is wrong.
func TestFunctionsAreRefusedByPosition(t *testing.T) {
	for filter, column := range map[string]int{
		`a = 1 AND at > timestamp("soon")`:    26,
		`at > timestamp()`:                    6,
		`at > timestamp(5)`:                   6,
		`at > now()`:                          6,
		`distance(where, 1, 2)`:               1,
		`distance(where, 1) < 5`:              1,
		`distance(where, 91, 2) < 5`:          17,
		`distance(where, 1, 181) < 5`:         20,
		`distance(where, 1, 2) < -5`:          25,
		`distance(where, 1, 2) < far`:         25,
		`a = 1 AND distance(where, 1, 2) = 5`: 11,
	} {
		_, err := Parse(filter)
		bad, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%s is accepted (%v)", filter, err)
			continue
		}
		if bad.Column != column {
			t.Errorf("%s: %v, want column %d", filter, bad, column)
		}
	}
}

func TestTimesLieInOrder(t *testing.T) {
	moments := []time.Time{
		time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Unix(0, 0), time.Unix(0, 1), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	for i := 1; i < len(moments); i++ {
		if c, ok := compare(TimeValue(moments[i-1]), TimeValue(moments[i])); !ok || c >= 0 {
			t.Errorf("%v is not before %v", moments[i-1], moments[i])
		}
	}
}

func TestDistances(t *testing.T) {
	paris, london := Point{48.8566, 2.3522}, Point{51.5074, -0.1278}
	if d := paris.DistanceTo(london); math.Abs(d-343_556) > 500 {
		t.Errorf("Paris and London are %v m apart", d)
	}
	if d := (Point{90, 0}).DistanceTo(Point{-90, 77}); math.Abs(d-math.Pi*earthRadius) > 1 {
		t.Errorf("the poles are %v m apart", d)
	}
}
