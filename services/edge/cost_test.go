package edge_test

import (
	"fmt"
	"regexp"
	"testing"
)

// An answer that is made to be kept may be settled before its caller has read it: the
// stream tells what it cost once all the same.
func TestAStreamTellsItsCostOnce(t *testing.T) {
	g := caching(t, nil)
	g.do("POST", "/v1/admin/prices", `{"price":{"model":"small","rates":{"input":1000000,"output":2000000}}}`)
	told := regexp.MustCompile(`"poterne_cost":"([0-9.]+) USD"`)
	for i := range 20 {
		a := g.do("POST", chatPath, fmt.Sprintf(exact, fmt.Sprintf(`,"stream":true,"stream_options":{"include_usage":true},"seed":%d`, i)))
		record, _ := g.explained(a.header.Get("X-Request-Id"))
		micros, _ := record.at("cost_micros").(float64)
		if m := told.FindStringSubmatch(a.text); m == nil || micros == 0 || m[1] != fmt.Sprintf("%.6f", micros/1e6) {
			t.Fatalf("stream %d told %q, and cost %v millionths", i, m, micros)
		}
	}
}
