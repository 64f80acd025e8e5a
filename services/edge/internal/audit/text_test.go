package audit

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// filled returns a record with something in each of its fields, so that one that is
// forgotten is missed.
func filled(t *testing.T) Record {
	t.Helper()
	var r Record
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case string:
			f.SetString("a \"quoted\" <text> é\u2028\n" + v.Type().Field(i).Name)
		case time.Time:
			f.Set(reflect.ValueOf(time.Date(2026, 2, 3, 4, 5, 6, 789_000, time.UTC)))
		case time.Duration, int32, int64:
			f.SetInt(int64(i) + 7)
		case bool:
			f.SetBool(true)
		case []string:
			f.Set(reflect.ValueOf([]string{"x/1", "y \\ 2"}))
		case auditproof.Hash:
			f.Set(reflect.ValueOf(auditproof.Hash{byte(i), 0xfe}))
		default:
			if f.Kind() != reflect.Slice { // decisions
				t.Fatalf("%s is of a kind that this test does not know", v.Type().Field(i).Name)
			}
			f.SetBytes([]byte{1, 2, 255})
		}
	}
	return r
}

func TestALineSaysWhatEncodingJSONWould(t *testing.T) {
	whole := filled(t)
	for name, c := range map[string]struct {
		rec     Record
		content *Sealed
	}{
		"every field": {whole, &Sealed{Record: "r", Tenant: "t", Subject: "s", Key: "k", Time: whole.Time, Data: []byte{9}}},
		"no field":    {Record{}, nil},
		"no UTF-8":    {Record{ID: "a\xffb", Resource: "model/\xc3"}, nil},
	} {
		without := c.rec
		without.Decisions = nil
		slow, err := json.Marshal(journalLine{Record: &without, Content: c.content, Decisions: c.rec.Decisions})
		if err != nil {
			t.Fatal(err)
		}
		fast, err := appendRecordObject(nil, &c.rec, c.content)
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := json.Unmarshal(slow, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(fast, &got); err != nil {
			t.Fatalf("%s: %v: %s", name, err, fast)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%s\n%s", name, fast, slow)
		}
	}
}
